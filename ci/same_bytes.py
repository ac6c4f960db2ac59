"""Repacks an sdist, so that one commit always gives the same bytes: ci/same_bytes.py SDIST.

setuptools leaves the times, owners and order of the files to chance. Here every file gets the time
`$SOURCE_DATE_EPOCH` and the owner 0, and the files are sorted by name.
"""

import gzip
import os
import sys
import tarfile
from pathlib import Path

time = int(os.environ["SOURCE_DATE_EPOCH"])
path = Path(sys.argv[1])
packed = path.with_suffix(".new")
with (
    tarfile.open(path) as old,
    packed.open("wb") as raw,
    gzip.GzipFile("", "wb", mtime=time, fileobj=raw) as zipped,
    tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as new,
):
    for member in sorted(old.getmembers(), key=lambda each: each.name):
        content = old.extractfile(member) if member.isfile() else None
        member.mtime, member.uid, member.gid, member.uname, member.gname = time, 0, 0, "", ""
        member.pax_headers = {}
        new.addfile(member, content)
packed.replace(path)
