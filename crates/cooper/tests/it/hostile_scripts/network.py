# more than the one host that is allowed: other ports, addresses and names, its gateway's own sockets, and too much at once

import struct

def ask(host, port, data=b"ping\n", patience=5):
    with socket.create_connection((host, port), patience) as client:
        client.sendall(data)
        return client.recv(100)


check("the allowed host answers", ask("allowed.internal", @ALLOWED@) == b"ping\n")
for host, port in (
    ("allowed.internal", @PORT@), ("127.0.0.1", @ALLOWED@), ("127.0.0.1", @PORT@), ("127.80.1.1", @PORT@), ("::1", @ALLOWED@),
    ("::ffff:127.0.0.1", @ALLOWED@), ("169.254.169.254", 80), ("10.0.0.1", 80), ("192.168.0.1", 443), ("fd00:ec2::254", 80),
):
    try:
        answer = ask(host, port)
        check(f"{host} {port}: {answer}", answer == b"")
    except OSError:
        pass
for name in ("localhost.evil.test", "evil.test", "metadata.google.internal", "a" * 63 + ".test", "ALLOWED.internal.evil.test"):
    fails(name, socket.getaddrinfo, name, 80)
# What makes no sense to who answers names.
for data in (b"", b"x", b"\xff" * 512, b"\x00\x01\x01\x00" + b"\xff\xff" * 4 + b"\xc0\x0c" * 100, bytes(60000)):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        try:
            client.sendto(data, ("127.80.0.1", 53))
        except OSError:
            pass
    try:
        with socket.create_connection(("127.80.0.1", 53), 5) as client:
            client.sendall(struct.pack(">H", 65535) + data)
    except OSError:
        pass
for address in (("127.80.1.1", @ALLOWED@), ("127.80.0.1", 53)):
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        fails(f"to listen at {address}", server.bind, address)
for path in ("/etc/hosts", "/etc/resolv.conf", "/etc/nsswitch.conf"):
    fails(f"to write {path}", open, path, "a")
many = []
try:
    for _ in range(60):
        many.append(socket.create_connection(("allowed.internal", @ALLOWED@), 5))
except OSError:
    pass
for client in many:
    client.close()
check("it answers still", ask("allowed.internal", @ALLOWED@) == b"ping\n")
held()
