"""A stand-in for vLLM in tests of the launcher: slow to start, with children it does not mind.

`fake_server.py PORT [--delay S] [--die CODE] [--stubborn] [--pids FILE]`. One grandchild is in the
server's session and another has left it.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

_SLEEP = "import time; time.sleep(600)"
_DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + _SLEEP


class _Healthy(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def main() -> None:
    """Serve `/health` until told to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--die", type=int)
    parser.add_argument("--say", default="")
    parser.add_argument("--stubborn", action="store_true")
    parser.add_argument("--pids")
    options = parser.parse_args()
    print("INFO starting", flush=True)
    if options.say:
        print(options.say, flush=True)
    if options.die is not None:
        sys.exit(options.die)
    nap = _DEAF if options.stubborn else _SLEEP
    inside = subprocess.Popen([sys.executable, "-c", nap])
    outside = subprocess.Popen([sys.executable, "-c", nap], start_new_session=True)
    if options.stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.pids:
        import os

        with open(options.pids, "w") as file:
            file.write(f"{os.getpid()} {inside.pid} {outside.pid}")
    time.sleep(options.delay)
    HTTPServer(("127.0.0.1", options.port), _Healthy).serve_forever()


if __name__ == "__main__":
    main()
