"""What the programs here are told: PORT [--certificate FILE] [--uvloop] [--wsaccel]."""

import argparse
import ssl

parser = argparse.ArgumentParser()
parser.add_argument("port", type=int)
parser.add_argument("--certificate", help="with its key: serve wss")
parser.add_argument("--uvloop", action="store_true", help="instead of asyncio's own loop")
parser.add_argument("--wsaccel", action="store_true", help="patch ws4py 0.6, which has to be told")
options = parser.parse_args()

port, certificate, tls = options.port, options.certificate, None
if certificate:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
if options.uvloop:
    import uvloop

    uvloop.install()
if options.wsaccel:
    import wsaccel

    wsaccel.patch_ws4py()
