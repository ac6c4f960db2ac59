"""Starts MongoDB servers in a process that a test ends: ``python start_servers.py WAY``."""

import json
import multiprocessing
import os
import signal
import sys
import time
from contextlib import ExitStack

from jobstore.testing import mongod

SERVERS = {  # the arguments of the servers that each way starts
    "standalone": [{"standalone": True}],
    "frozen": [{"standalone": True}],
    "killed": [{"standalone": True}],
    "three nodes": [{"nodes": 3}],
    "nested": [{"standalone": True}, {"standalone": True}],
    "forked": [{"standalone": True}],
    "multiprocessing": [{"standalone": True}],
    "fork leaves the block": [{"standalone": True}],
    "exits": [{"standalone": True}],
}


def main(way):
    with ExitStack() as stack:
        servers = [stack.enter_context(mongod(**each)) for each in SERVERS[way]]
        nodes = [node for server in servers for node in server.nodes]
        known = {
            "pids": [node.pid for node in nodes],
            "folders": [str(node.folder.parent) for node in nodes],
        }
        if way == "frozen":
            nodes[0].freeze()
        elif way == "killed":
            servers[0].kill()
        elif way == "forked":
            known["child"] = os.fork() or time.sleep(600)
        elif way == "multiprocessing":
            child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,))
            child.start()
            known["child"] = child.pid
        elif way == "fork leaves the block":
            if not (child := os.fork()):
                try:
                    servers[0].kill()
                except RuntimeError as error:
                    if "call mongod() after the fork" in str(error):
                        return
                os._exit(1)
            assert os.waitpid(child, 0)[1] == 0
            os.kill(nodes[0].pid, 0)  # it runs
            servers[0].wait()  # and answers
        print(json.dumps(known), flush=True)
        if way == "exits":
            os._exit(0)
        while True:
            signal.pause()


if __name__ == "__main__":
    main(sys.argv[1])
