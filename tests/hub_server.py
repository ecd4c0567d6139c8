"""A local server that speaks the Hugging Face Hub's API as far as publishing and loading need it.

It keeps what it is given, checks every object's sha256, counts requests, and can be told to fail.
"""

import json
import re
import threading
from base64 import b64decode
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import yaml

TOKEN = "hf_aTokenThatNobodyMaySee"
GIT_ATTRIBUTES = b"*.parquet filter=lfs\n*.png filter=lfs\n"


def git_id(data):
    return sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """`commits` are pairs of an id and the files (path to content) after it."""

    private: bool
    commits: list = field(default_factory=list)
    tags: dict = field(default_factory=dict)

    @property
    def files(self):
        return self.commits[-1][1]

    def commit(self, files):
        self.commits.append((sha1(f"{len(self.commits)}{id(self)}".encode()).hexdigest(), files))
        return self.commits[-1][0]

    def at(self, revision):
        revision = self.tags.get(revision, revision)
        commits = dict(self.commits)
        return self.commits[-1] if revision == "main" else (revision, commits[revision])


class Hub:
    """`faults` are (method, part of the path, answer) in order, each used once: a status with its
    headers, or "drop" for a connection that is closed. `drop_from_put`: the PUT from which on every
    connection is closed; `stall_from_put`: from which on none is answered.
    """

    def __init__(self):
        self.repos, self.objects, self.requests = {}, {}, []
        self.faults, self.drop_from_put, self.stall_from_put = [], None, None
        self.down = False
        self.lock, self.stalled = threading.RLock(), threading.Event()

    def puts(self):
        """Sha256 of the objects that were sent and kept, in order."""
        return [path.removeprefix("/lfs/") for path in self.done("PUT", "/lfs/")]

    def commits(self):
        return self.done("POST", "/commit/")

    def done(self, method, part):
        return [p for m, p, status in self.requests if m == method and part in p and status == 200]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def hub(self):
        return self.server.hub

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length) if length else self.read_chunks()
        path = unquote(urlsplit(self.path).path)
        with self.hub.lock:
            fault = self.planned(path)
        if fault == "drop":
            self.hub.requests.append((self.command, path, None))
            self.close_connection = True
            self.connection.close()
            return
        if fault == "stall":
            self.hub.stalled.set()
            threading.Event().wait(60)
            return
        with self.hub.lock:
            status, value, headers = (*fault, {})[:3] if fault else self.route(path)
        self.hub.requests.append((self.command, path, status))
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def __getattr__(self, name):
        # BaseHTTPRequestHandler looks for `do_GET`, `do_POST`, ...
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def read_chunks(self):
        if self.headers.get("transfer-encoding") != "chunked":
            return b""
        data = b""
        while size := int(self.rfile.readline(), 16):
            data += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return data

    def planned(self, path):
        for fault in self.hub.faults:
            if fault[0] == self.command and fault[1] in path:
                self.hub.faults.remove(fault)
                return fault[2]
        puts = len([r for r in self.hub.requests if r[0] == "PUT" and "/lfs/" in r[1]])
        if self.command == "PUT" and self.hub.stall_from_put == puts:
            return "stall"
        if self.hub.down or (self.command == "PUT" and self.hub.drop_from_put == puts):
            self.hub.down = True
            return "drop"
        return None

    def route(self, path):
        if path.startswith("/lfs/"):
            return self.put_object(path.removeprefix("/lfs/"))
        if path == "/api/validate-yaml":
            return self.validate()
        if self.headers.get("authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}, {}
        if path == "/api/repos/create":
            return self.create()
        found = re.fullmatch(
            r"(?:/api)?/datasets/([^/]+/[^/.]+)(?:\.git)?(?:/([a-z-]+)(?:/(.*))?)?", path
        )
        repo = self.hub.repos.get(found[1]) if found else None
        if repo is None:
            return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
        work = getattr(type(self), "on_" + (found[2] or "info"), None)
        if work is None:
            return 404, {"error": "this Hub does not know that"}, {}
        return work(self, repo, found[1], found[3])

    def json(self):
        return json.loads(self.body)

    def validate(self):
        header = yaml.safe_load(self.json()["content"].split("---\n")[1])
        if not isinstance(header, dict) or "license" not in header:
            return 400, {"errors": [{"message": "no license"}]}, {}
        return 200, {"errors": [], "warnings": []}, {}

    def create(self):
        asked = self.json()
        assert asked["type"] == "dataset"
        name = f"{asked['organization']}/{asked['name']}"
        if name in self.hub.repos:
            return 409, {"error": "exists", "url": f"/datasets/{name}"}, {}
        repo = self.hub.repos[name] = Repo(private=asked.get("visibility") == "private")
        repo.commit({".gitattributes": GIT_ATTRIBUTES})
        return 200, {"url": f"{self.hub.url}/datasets/{name}"}, {}

    def on_info(self, repo, name, rest, revision="main"):
        if rest == "lfs/objects/batch":
            return self.batch()
        oid, files = repo.at(revision)
        card = files.get("README.md", b"---\n{}\n---\n").decode().split("---\n")[1]
        value = {
            "id": name,
            "sha": oid,
            "private": repo.private,
            "tags": (yaml.safe_load(card) or {}).get("tags", []),
            "siblings": [{"rfilename": path} for path in files],
        }
        return 200, value, {}

    def on_revision(self, repo, name, rest):
        return self.on_info(repo, name, None, revision=rest)

    def on_refs(self, repo, *_):
        tags = [
            {"name": tag, "ref": f"refs/tags/{tag}", "targetCommit": oid}
            for tag, oid in repo.tags.items()
        ]
        return 200, {"branches": [], "converts": [], "tags": tags}, {}

    def describe(self, path, data):
        entry = {"type": "file", "path": path, "size": len(data), "oid": git_id(data)}
        if path.endswith((".parquet", ".png")):
            digest = sha256(data).hexdigest()
            entry["lfs"] = {"oid": digest, "size": len(data), "pointerSize": 130}
        return entry

    def on_tree(self, repo, _, rest):
        revision, _, folder = rest.partition("/")
        files = repo.at(revision)[1]
        prefix = f"{folder}/" if folder else ""
        found = [self.describe(p, d) for p, d in files.items() if p.startswith(prefix)]
        if "recursive=true" not in self.path.lower():
            below = {p[len(prefix) :].split("/")[0] for p in files if p.startswith(prefix)}
            found = [f for f in found if f["path"][len(prefix) :] in below]
            folders = below - {f["path"][len(prefix) :] for f in found}
            found += [
                {"type": "directory", "path": prefix + name, "oid": git_id(b"")} for name in folders
            ]
        return 200, found, {}

    def on_preupload(self, repo, *_):
        files = []
        for file in self.json()["files"]:
            there = repo.files.get(file["path"])
            lfs = file["path"].endswith((".parquet", ".png"))
            oid = None
            if there is not None:
                oid = sha256(there).hexdigest() if lfs else git_id(there)
            mode = "lfs" if lfs else "regular"
            files.append(
                {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}
            )
        return 200, {"files": files}, {}

    def batch(self):
        objects = []
        for entry in self.json()["objects"]:
            one = {"oid": entry["oid"], "size": entry["size"]}
            if entry["oid"] not in self.hub.objects:
                # The storage is another host than the Hub, as it is in truth.
                host = f"http://{self.headers['host'].replace('127.0.0.1', 'localhost')}"
                one["actions"] = {"upload": {"href": f"{host}/lfs/{entry['oid']}?signature=s3cr3t"}}
            objects.append(one)
        return 200, {"transfer": "basic", "objects": objects}, {}

    def put_object(self, oid):
        if sha256(self.body).hexdigest() != oid:
            return 400, {"error": "not the object it is said to be"}, {}
        self.hub.objects[oid] = self.body
        return 200, {}, {"ETag": oid}

    def on_commit(self, repo, name, _):
        files = dict(repo.files)
        for line in self.body.splitlines():
            item = json.loads(line)
            value, key = item["value"], item["key"]
            if key == "file":
                files[value["path"]] = b64decode(value["content"])
            elif key == "lfsFile":
                if value["oid"] not in self.hub.objects:
                    return 400, {"error": f"{value['path']} was not uploaded"}, {}
                files[value["path"]] = self.hub.objects[value["oid"]]
            elif key == "deletedFile":
                if value["path"] not in files:
                    missing = "A file with this name doesn't exist"
                    return 404, {"error": missing}, {"X-Error-Code": "EntryNotFound"}
                del files[value["path"]]
        oid = repo.commit(files)
        url = f"{self.hub.url}/datasets/{name}/commit/{oid}"
        return 200, {"commitUrl": url, "commitOid": oid}, {}

    def on_tag(self, repo, _, revision):
        tag = self.json()["tag"]
        if tag in repo.tags:
            return 409, {"error": "Tag exists"}, {}
        repo.tags[tag] = repo.at(revision)[0]
        return 200, {}, {}

    def on_settings(self, repo, *_):
        repo.private = self.json()["visibility"] == "private"
        return 200, {}, {}

    def on_resolve(self, repo, _, rest):
        revision, _, path = rest.partition("/")
        oid, files = repo.at(revision)
        if path not in files:
            return 404, {"error": "no such file"}, {"X-Error-Code": "EntryNotFound"}
        data = files[path]
        headers = {"ETag": f'"{git_id(data)}"', "X-Repo-Commit": oid, "Accept-Ranges": "bytes"}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range") or "")
        if asked:
            start, end = int(asked[1]), int(asked[2] or len(data) - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(data)}"
            return 206, data[start : end + 1], headers
        return 200, data, headers


@contextmanager
def serve_hub():
    """A Hub on a port of its own; `url` is its address."""
    # A class of its own, so that a test may change how this one answers.
    handler = type("Handler", (Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    server.hub = hub = Hub()
    hub.handler = handler
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
