"""Speaks TLS in front of a server: python speak_tls.py SERVER_PORT CERTIFICATE KEY

Prints the port where it listens, and runs until it is killed.
"""

import asyncio
import ssl
import sys


async def forward(reader, writer):
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(port, certificate, key):
    async def serve(reader, writer):
        server_reader, server_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(
            forward(reader, server_writer), forward(server_reader, writer), return_exceptions=True
        )

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    print(listener.sockets[0].getsockname()[1], flush=True)
    await listener.serve_forever()


asyncio.run(main(*sys.argv[1:]))
