# sockets beyond plain ones, and the host's own services

for family, kind, protocol in (
    (2, 3, 1), (2, 3, 255), (10, 3, 58), (17, 3, 0x300), (17, 2, 0x300), (40, 1, 0), (40, 2, 0), (38, 5, 0), (44, 3, 0), (31, 3, 1),
    (29, 3, 1), (16, 3, 9), (16, 3, 12), (16, 3, 15), (16, 3, 16), (2, 1, 132), (2, 5, 132), (21, 5, 0), (30, 5, 0), (41, 2, 0), (8, 2, 0),
):
    try:
        socket.socket(family, kind, protocol).close()
        check(f"socket({family}, {kind}, {protocol})", False)
    except OSError:
        pass
fails("the host's abstract socket", socket.socket(socket.AF_UNIX).connect, "\0@ABSTRACT@")


def connects(family, address):
    began = time.monotonic()
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(10)
        try:
            client.connect(address)
            check(f"{address} answers", False)
        except OSError as error:
            check(f"{address}: {error}", not isinstance(error, TimeoutError))
    check(f"{address} takes {time.monotonic() - began:.1f} s", time.monotonic() - began < 2)


connects(socket.AF_INET, ("127.0.0.1", @PORT@))
connects(socket.AF_INET6, ("::1", @PORT@))
for address in ("169.254.169.254", "10.0.0.1", "192.168.0.1", "172.17.0.1", "192.0.2.1"):
    connects(socket.AF_INET, (address, 80))
connects(socket.AF_INET6, ("fd00:ec2::254", 80))
interfaces = [name for _, name in socket.if_nameindex()]
check(f"interfaces {interfaces}", interfaces == ["lo"])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    fails("a datagram", client.sendto, b"x", ("169.254.169.254", 53))
held()
