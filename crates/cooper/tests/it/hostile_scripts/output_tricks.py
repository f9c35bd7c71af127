# links, devices, pipes, holes and odd names among what comes back
os.chdir("/output")
with open("plain", "w") as file:
    file.write("plain")
os.symlink("/etc/shadow", "link-shadow")
os.symlink("@SECRET@", "link-secret")
os.symlink("../../../../../../../../@SECRET@", "link-up")
os.symlink("/proc/self/mem", "link-mem")
os.symlink("/dev/zero", "link-zero")
os.symlink("..", "folder-link")
os.mkfifo("fifo")
with open("hard-a", "w") as file:
    file.write("x")
os.link("hard-a", "hard-b")
for path in ("/etc/passwd", "/etc/shadow", sys.executable):
    fails(f"a hard link to {path}", os.link, path, "stolen")
fails("a device", os.mknod, "device", 0o020666, os.makedev(1, 5))
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
with open("sparse", "wb") as file:
    file.truncate(1 << 40)
for name in ("new\nline", "esc\x1b[2J", "..hidden", "...", "a..b", "x" * 255):
    open(name, "w").close()
open(b"not-\xff-utf8", "w").close()
deep = "."
for _ in range(60):
    deep += "/d"
    os.mkdir(deep)
open(deep + "/deep", "w").close()
held()
