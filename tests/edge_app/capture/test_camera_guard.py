"""Real servers on loopback: a camera that is permitted, and inner ones that nothing may lead to."""

from __future__ import annotations

import contextlib
import http.server
import os
import socket
import ssl
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_app.capture import camera_guard, source_hosts
from edge_app.capture.address import parse_address
from edge_app.capture.camera_guard import CameraGuard, _proxied, _Replies
from edge_app.capture.ffmpeg_options import ffmpeg_options
from edge_app.capture.open_camera import open_camera
from edge_app.capture.opencv_stream import OpenCVStream, SourceLost
from edge_app.capture.source_hosts import ForbiddenHost
from edge_app.config import SourceConfig
from edge_app.errors import UserError
from edge_app.source import VideoFile
from tests.edge_app.rtsp import RtspCamera, why_not
from tests.edge_app.videos import write_video
from tests.edge_app.web.test_access import certificate


class Web:
    """A web server on loopback that answers paths with what it is told, and counts whoever comes."""

    def __init__(self, tls=None):
        asked = self.asked = []
        answers = self.answers = {}

        class Handler(http.server.BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                asked.append((self.path, self.headers.get("Host")))
                status, headers, body = answers.get(self.path, (404, {}, b""))
                self.send_response(status)
                for name, value in {**headers, "Content-Length": len(body)}.items():
                    self.send_header(name, str(value))
                self.end_headers()
                self.wfile.write(body)

        self.connections = 0
        web = self

        class Server(http.server.ThreadingHTTPServer):
            def get_request(self):
                web.connections += 1
                return super().get_request()

        self._server = Server(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "a.avi").read_bytes()


@pytest.fixture
def camera():
    """Reached as camera.test."""
    server = Web()
    yield server
    server.close()


@pytest.fixture
def inner(video):
    """Must not be reached, by whatever name."""
    server = Web()
    server.answers["/a.avi"] = (200, {}, video)
    yield server
    server.close()


@pytest.fixture(autouse=True)
def names(monkeypatch):
    """Let camera.test and next.test be cameras, which stand on loopback here; all other names are checked as ever."""
    real = source_hosts.checked_addresses
    cameras = {"camera.test", "next.test"}
    monkeypatch.setattr(camera_guard, "checked_addresses", lambda h: ["127.0.0.1"] if h in cameras else real(h))


def opened(uri):
    return OpenCVStream(parse_address(uri), timeout_s=3.0, only_cameras=True)


def first_grey(stream):
    try:
        return int(next(iter(stream)).image.mean())
    finally:
        stream.close()


def test_a_camera_is_read_through_the_guard_under_its_own_name(camera, video):
    camera.answers["/a.avi?x=1"] = (200, {}, video)
    assert first_grey(opened(f"http://camera.test:{camera.port}/a.avi?x=1")) <= 2
    assert camera.asked[0] == ("/a.avi?x=1", f"camera.test:{camera.port}")


def test_a_motion_jpeg_camera_is_read_through_the_guard(camera):
    pictures = [cv2.imencode(".jpg", np.full((48, 64, 3), 40 * k, np.uint8))[1].tobytes() for k in range(6)]
    parts = b"".join(
        b"--x\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(one), one) for one in pictures
    )
    camera.answers["/mjpg"] = (200, {"Content-Type": "multipart/x-mixed-replace; boundary=x"}, parts)
    stream = opened(f"http://user:pw@camera.test:{camera.port}/mjpg")
    frames = iter(stream)
    assert [round(float(next(frames).image.mean()) / 40) for _ in range(4)] == [0, 1, 2, 3]
    stream.close()


def test_without_the_guard_a_redirect_is_followed_so_these_tests_can_fail(camera, inner):
    camera.answers["/a.avi"] = (302, {"Location": f"http://127.0.0.1:{inner.port}/a.avi"}, b"")
    stream = OpenCVStream(parse_address(f"http://127.0.0.1:{camera.port}/a.avi"), timeout_s=3.0)
    assert first_grey(stream) <= 2
    assert inner.asked


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "0.0.0.0"])
def test_a_redirect_to_this_device_is_refused(camera, inner, status, host):
    camera.answers["/a.avi"] = (status, {"Location": f"http://{host}:{inner.port}/a.avi"}, b"")
    with pytest.raises(SourceLost, match="leads to this device itself"):
        opened(f"http://camera.test:{camera.port}/a.avi")
    assert inner.connections == 0


@pytest.mark.parametrize("scheme", ["tcp", "httpproxy", "https", "tls", "file", "rtsp", "concat:http"])
def test_a_redirect_to_another_protocol_is_not_followed(camera, inner, scheme):
    camera.answers["/a.avi"] = (302, {"Location": f"{scheme}://127.0.0.1:{inner.port}/a.avi"}, b"")
    with pytest.raises(SourceLost):
        opened(f"http://camera.test:{camera.port}/a.avi")
    assert inner.connections == 0


def test_a_redirect_to_where_clouds_keep_credentials_is_refused(camera):
    camera.answers["/a.avi"] = (302, {"Location": "http://169.254.169.254/latest/meta-data"}, b"")
    with pytest.raises(SourceLost, match="clouds keep credentials"):
        opened(f"http://camera.test:{camera.port}/a.avi")


def test_a_redirect_to_another_camera_is_followed(camera, video):
    camera.answers["/a.avi"] = (302, {"Location": f"http://next.test:{camera.port}/b.avi"}, b"")
    camera.answers["/b.avi"] = (200, {}, video)
    assert first_grey(opened(f"http://camera.test:{camera.port}/a.avi")) <= 2
    assert camera.asked[-1] == ("/b.avi", f"next.test:{camera.port}")


@pytest.mark.parametrize("place", ["http://127.0.0.1:{port}/a.avi", "tcp://127.0.0.1:{port}/a.avi",
                                   "httpproxy://127.0.0.1:{port}/a.avi", "file:///etc/hostname"])  # fmt: skip
@pytest.mark.parametrize("playlist", [
    "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\n{place}\n#EXT-X-ENDLIST\n",
    "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{place}\n",
    '#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-KEY:METHOD=AES-128,URI="{place}"\n#EXTINF:3,\nx.ts\n#EXT-X-ENDLIST\n',
    "ffconcat version 1.0\nfile {place}\n",
    "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n",
])  # fmt: skip
def test_no_playlist_is_followed(camera, inner, playlist, place):
    text = playlist.format(place=place.format(port=inner.port)).encode()
    camera.answers["/list.m3u8"] = (200, {"Content-Type": "application/vnd.apple.mpegurl"}, text)
    with pytest.raises(SourceLost):
        opened(f"http://camera.test:{camera.port}/list.m3u8")
    assert {path for path, _ in camera.asked} == {"/list.m3u8"}
    assert inner.connections == 0


def test_without_the_guard_a_playlist_leads_elsewhere_so_these_tests_can_fail(camera, inner):
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nhttp://127.0.0.1:{inner.port}/a.avi\n#EXT-X-ENDLIST\n"
    camera.answers["/list.m3u8"] = (200, {"Content-Type": "application/vnd.apple.mpegurl"}, text.encode())
    with contextlib.suppress(SourceLost):
        OpenCVStream(parse_address(f"http://127.0.0.1:{camera.port}/list.m3u8"), timeout_s=3.0).close()
    assert inner.asked


def test_a_name_is_asked_for_again_at_each_connection(inner, monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr("edge_app.capture.source_hosts.socket.getaddrinfo", lambda *_args, **_kw: answers)
    for scheme in ("http", "rtsp"):
        with pytest.raises(SourceLost, match="leads to this device itself"):
            opened(f"{scheme}://rebound.test:{inner.port}/a.avi")
    assert inner.connections == 0


def test_this_device_s_address_in_the_network_is_this_device_too(camera):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Sends nothing; 192.0.2.1 is nobody's.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no network")
        own = probe.getsockname()[0]
    assert "this device itself" in (source_hosts.why_refused(f"rtsp://{own}/live") or "")
    assert source_hosts.why_refused("rtsp://192.0.2.1/live") is None
    with socket.create_server((own, 0)) as inner:
        inner.settimeout(0.2)
        camera.answers["/a.avi"] = (302, {"Location": f"http://{own}:{inner.getsockname()[1]}/a.avi"}, b"")
        with pytest.raises(SourceLost, match="leads to this device itself"):
            opened(f"http://camera.test:{camera.port}/a.avi")
        with pytest.raises(OSError, match="timed out"):
            inner.accept()


def test_no_proxy_in_the_environment_opens_no_way_past_the_guard(camera, inner, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.delenv("NO_PROXY", raising=False)
    camera.answers["/a.avi"] = (302, {"Location": f"http://127.0.0.1:{inner.port}/a.avi"}, b"")
    with pytest.raises(SourceLost, match="leads to this device itself"):
        opened(f"http://camera.test:{camera.port}/a.avi")
    assert inner.connections == 0
    assert os.environ["NO_PROXY"] == "127.0.0.1,localhost"


def test_https_is_spoken_to_the_camera(tmp_path, video):
    files = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["certificate_key"])
    server = Web(context)
    server.answers["/a.avi"] = (200, {}, video)
    try:
        assert first_grey(opened(f"https://camera.test:{server.port}/a.avi")) <= 2
    finally:
        server.close()


def test_the_owner_s_own_source_may_stand_on_this_device(inner):
    config = SourceConfig(uri=f"http://127.0.0.1:{inner.port}/a.avi", stall_timeout_s=3)
    stream = open_camera(config)
    assert first_grey(stream) <= 2
    with pytest.raises(SourceLost, match=r"leads to this device itself.*source\.only_cameras"):
        open_camera(config.model_copy(update={"only_cameras": True}))
    with pytest.raises(UserError, match="only_cameras"):
        opened("udp://10.0.0.7:5000")


class Loopback:
    """Accepts connections, one after the other, and meets each."""

    def __init__(self):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        while True:
            try:
                one, _ = self._listener.accept()
            except OSError:
                return
            self._meet(one)


class Rtsp(Loopback):
    """Answers each RTSP request with one text."""

    def __init__(self, answer):
        self.asked = []
        self._answer = answer
        super().__init__()

    def _meet(self, one):
        with one:
            while said := one.recv(4096):
                self.asked.append(said)
                for part in self._answer:
                    one.sendall(part)
                    time.sleep(0.02)


@pytest.mark.parametrize("cut", [None, 3, 12])
def test_a_redirect_of_an_rtsp_camera_is_refused(inner, cut):
    target = Rtsp([])
    text = f"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1:{target.port}/x\r\n\r\n".encode()
    camera = Rtsp([text] if cut is None else [text[:cut], text[cut:]])
    try:
        with pytest.raises(SourceLost):
            OpenCVStream(parse_address(f"rtsp://127.0.0.1:{camera.port}/x"), timeout_s=1.0)
        assert target.asked, "FFmpeg follows no redirects any more, so this test shows nothing"
        target.asked.clear()
        with pytest.raises(SourceLost, match="redirects to another address"):
            opened(f"rtsp://camera.test:{camera.port}/x")
        assert camera.asked
        assert target.asked == []
    finally:
        camera.close()
        target.close()


@pytest.mark.parametrize("said", [
    b"RTSP/1.0 301 Moved", b"RT\rSP/1.0 3\r02 x", b"RTSP/1.0\t \t307 x", b"RTSP/1.0 +00302", b"RTSP/ 3029",
    b" RTSP/x 300\n", b"RTSP/1.0 4294967598 x", b"v=0RTSP/1.0 302 x", b"RTSP/1.0 \x0b302 x",
])  # fmt: skip
def test_whatever_ffmpeg_takes_for_a_redirect_is_refused_however_it_is_cut(said):
    for cut in range(len(said)):
        replies = _Replies()
        replies.asked(b"DESCRIBE rtsp://x RTSP/1.0\r\n\r\n")
        passed = b""
        with pytest.raises(ForbiddenHost, match="redirects"):
            for part in (b"RTSP/1.0 200 OK\r\n\r\n", said[:cut], said[cut:], b"\n"):
                passed += replies.checked(part)
        # FFmpeg never has the end of its line.
        assert b"\n" not in passed.replace(b"\r", b"").partition(b"\n\n")[2]


def test_other_replies_and_the_picture_are_passed_on_whole():
    replies = _Replies()
    description = b"RTSP/1.0 200 OK\r\n\r\ns=RTSP/RTP stream 1 from NETWORK VIDEO\r\n"
    assert b"".join(replies.checked(bytes([one])) for one in description) == description
    replies.asked(b"PLAY rtsp://x RTSP/1.0\r\n")
    replies.asked(b"\r\n")
    assert replies.checked(b"$\x00\x00\x10RTSP/1.0 302") == b"$\x00\x00\x10RTSP/1.0 302"


@pytest.mark.parametrize("end", [
    b"Server: Acme RTSP/1.0\r\n\r\n", b"a=control:TRACKR\r\n", b"a=tool:RTSP/RTP\r\n", b"a=control:TRACKR",
    b"RTSP/1.0 3",
])  # fmt: skip
def test_a_reply_is_passed_on_at_once_though_its_end_looks_like_the_beginning_of_another(end):
    replies = _Replies()
    replies.asked(b"DESCRIBE rtsp://x RTSP/1.0\r\n\r\n")
    said = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n" + end
    assert replies.checked(said) == said


def test_a_camera_with_tls_that_speaks_only_when_asked_is_asked(tmp_path):
    # Behind the handshake of TLS 1.3 comes a ticket: the socket is readable, and yet nothing is said.
    files = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files["certificate"], files["certificate_key"])
    listener = socket.create_server(("127.0.0.1", 0))
    guard = CameraGuard(f"rtsps://camera.test:{listener.getsockname()[1]}/x", 2.0)
    client = socket.create_connection(("127.0.0.1", int(guard.url.rsplit(":", 1)[1].partition("/")[0])))
    client.settimeout(3.0)
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True) as camera:
            camera.settimeout(3.0)
            time.sleep(0.3)  # the guard is to see the ticket first
            client.sendall(b"OPTIONS rtsp://x RTSP/1.0\r\n\r\n")
            assert camera.recv(100).startswith(b"OPTIONS")
            camera.sendall(b"RTSP/1.0 200 OK\r\n\r\n")
            assert client.recv(100) == b"RTSP/1.0 200 OK\r\n\r\n"
    finally:
        client.close()
        listener.close()
        guard.close()


@pytest.mark.parametrize("uri", ["http://cam:99999/x", "rtsp://cam:99999/x", "http://[::1/x", "rtsp://u:s3cret/x@cam/y",
                                 "http:///x"])  # fmt: skip
def test_what_is_no_address_is_one_sentence_and_leaves_nothing_open(uri):
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(UserError, match=r"^source .* (is no address; correct its host|names no host; give)") as raised:
        opened(uri)
    assert "s3cret" not in str(raised.value)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_an_rtsp_camera_with_a_password_is_read_through_the_guard():
    camera = RtspCamera()
    camera.start((160, 128))
    try:
        stream = opened(camera.address.replace("127.0.0.1", "camera.test"))
        frames = iter(stream)
        assert next(frames).image.shape == (128, 160, 3)
        assert next(frames).index == 1
        stream.close()
        with pytest.raises(SourceLost, match="leads to this device itself"):
            opened(camera.address)
    finally:
        camera.kill()


def test_closing_ends_the_guard_s_threads_and_connections(camera, video):
    camera.answers["/a.avi"] = (200, {}, video)
    before = threading.active_count()
    for _ in range(3):
        first_grey(opened(f"http://camera.test:{camera.port}/a.avi"))
    deadline_s = time.monotonic() + 5.0
    while threading.active_count() > before + 3 and time.monotonic() < deadline_s:
        time.sleep(0.02)
    assert not [thread for thread in threading.enumerate() if thread.name == "camera-guard"]


VARIABLE = "OPENCV_FFMPEG_CAPTURE_OPTIONS"


def test_streams_with_other_options_wait_until_those_of_the_first_are_taken():
    seen = []

    def use(special):
        with ffmpeg_options(special):
            seen.append((special, os.environ[VARIABLE].partition("|")[2]))

    with ffmpeg_options("a;1") as taken:
        use("a;1")
        others = [threading.Thread(target=use, args=(special,)) for special in ("b;2", "")]
        for other in others:
            other.start()
        others[0].join(0.2)
        assert seen == [("a;1", "a;1")]
        taken()
        for other in others:
            other.join(5.0)
    assert sorted(seen) == [("", ""), ("a;1", "a;1"), ("b;2", "b;2")]
    assert "|" not in os.environ[VARIABLE]


def test_a_guarded_stream_gets_its_turn_though_others_open_all_the_time(monkeypatch):
    monkeypatch.setattr("edge_app.capture.ffmpeg_options._PATIENCE_S", 0.1)
    stop = threading.Event()

    def open_again_and_again():
        while not stop.is_set():
            with ffmpeg_options():
                time.sleep(0.03)

    others = [threading.Thread(target=open_again_and_again) for _ in range(4)]
    for other in others:
        other.start()
    try:
        with ffmpeg_options("a;1"):
            assert os.environ[VARIABLE].endswith("|a;1")
    finally:
        stop.set()
    for other in others:
        other.join(5.0)
        assert not other.is_alive()


@pytest.fixture
def hanging():
    """Begin to open something, with these options, that hangs until the test is over."""
    over = threading.Event()
    opening = []

    def hang(special=""):
        has_turn = threading.Event()

        def use():
            with ffmpeg_options(special):
                has_turn.set()
                over.wait(30.0)

        opening.append(threading.Thread(target=use))
        opening[-1].start()
        assert has_turn.wait(5.0)

    yield hang
    over.set()
    for thread in opening:
        thread.join(5.0)
    assert "|" not in os.environ[VARIABLE]


def test_a_file_that_hangs_while_it_is_opened_keeps_no_camera_from_being_opened(hanging, monkeypatch):
    monkeypatch.setattr("edge_app.capture.ffmpeg_options._LONGEST_USUAL_TURN_S", 0.2)
    hanging()
    for special in ("a;1", "", "b;2", ""):
        with ffmpeg_options(special):
            assert os.environ[VARIABLE].partition("|")[2] == special


def test_the_end_of_an_opening_whose_turn_was_taken_away_changes_no_other_s_options(monkeypatch):
    monkeypatch.setattr("edge_app.capture.ffmpeg_options._LONGEST_USUAL_TURN_S", 0.0)
    with ffmpeg_options() as taken, ffmpeg_options("a;1"):
        taken()
        assert os.environ[VARIABLE].endswith("|a;1")
    assert "|" not in os.environ[VARIABLE]


def test_a_guarded_source_keeps_its_options_however_long_it_takes_and_the_others_are_told(
    hanging, tmp_path, monkeypatch
):
    monkeypatch.setattr("edge_app.capture.ffmpeg_options._LONGEST_USUAL_TURN_S", 0.0)
    monkeypatch.setattr("edge_app.capture.ffmpeg_options._LONGEST_WAIT_S", 0.3)
    hanging("a;1")
    path = write_video(tmp_path / "a.avi")
    with pytest.raises(UserError, match=r"a\.avi cannot be opened while another source hangs.*try again"):
        VideoFile(path)
    with pytest.raises(SourceLost, match="cannot be opened while another source hangs"):
        opened("http://camera.test/x")
    assert os.environ[VARIABLE].endswith("|a;1")


def test_a_guarded_camera_that_does_not_answer_holds_up_no_file(tmp_path):
    silent = socket.create_server(("127.0.0.1", 0))

    def open_it():
        with contextlib.suppress(SourceLost):
            opened(f"http://camera.test:{silent.getsockname()[1]}/a")

    opening = threading.Thread(target=open_it)
    opening.start()
    try:
        # It is being opened now, and FFmpeg has its options.
        silent.accept()
        began_s = time.monotonic()
        assert VideoFile(write_video(tmp_path / "b.avi")).width == 64
        assert time.monotonic() - began_s < 1.5
        assert opening.is_alive()
    finally:
        silent.close()
        opening.join(10.0)


@pytest.mark.parametrize(
    ("written", "asked"),
    [("", "/"), ("?x=1", "/?x=1"), ("/v?", "/v?"), ("//v//w", "//v//w"), ("/a;b?u=http://x//y", "/a;b?u=http://x//y")],
)
def test_a_camera_is_asked_for_what_stands_behind_its_host_as_it_is_written(written, asked):
    head = f"GET http://camera.test:81{written} HTTP/1.1\r\nHost: camera.test:81\r\n\r\n"
    host, port, said = _proxied(head.encode())
    assert (host, port) == ("camera.test", 81)
    assert said.split(b"\r\n")[0].decode() == f"GET {asked} HTTP/1.1"


def test_a_guard_serves_nothing_but_http_through_its_proxy(camera):
    guard = CameraGuard(f"http://camera.test:{camera.port}/", 2.0)
    port = int(guard.options.split("|")[0].rsplit(":", 1)[1])
    for request in (f"CONNECT camera.test:{camera.port} HTTP/1.1", f"GET ftp://camera.test:{camera.port}/ HTTP/1.1"):
        with socket.create_connection(("127.0.0.1", port), 2.0) as asking:
            asking.sendall(f"{request}\r\n\r\n".encode())
            assert asking.recv(100) == b""
    guard.close()
    assert camera.asked == []


class Tls(Loopback):
    """Speaks TLS for a server on loopback that does not."""

    def __init__(self, folder, port):
        files = certificate(folder)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(files["certificate"], files["certificate_key"])
        self._to = port
        super().__init__()

    def _meet(self, one):
        outer = self._context.wrap_socket(one, server_side=True)
        inner = socket.create_connection(("127.0.0.1", self._to))
        for a, b in ((outer, inner), (inner, outer)):
            threading.Thread(target=self._pass_on, args=(a, b), daemon=True).start()

    @staticmethod
    def _pass_on(a, b):
        with contextlib.suppress(OSError):
            while said := a.recv(65536):
                b.sendall(said)
        for end in (a, b):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_rtsps_is_spoken_to_the_camera(tmp_path):
    camera = RtspCamera()
    camera.start((160, 128))
    tls = Tls(tmp_path, camera.port)
    try:
        stream = opened(f"rtsps://viewer:s3cret@camera.test:{tls.port}/cam")
        frames = iter(stream)
        assert [next(frames).image.shape for _ in range(5)] == [(128, 160, 3)] * 5
        stream.close()
    finally:
        tls.close()
        camera.kill()
