# become more than it is: set-user-id programs, capabilities, ids
import shutil, stat, subprocess
status = read("/proc/self/status").decode()
for line in ("CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000", "CapBnd:\t0000000000000000",
             "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2"):
    check(f"no {line!r}", line in status)
own = os.getuid()
check("it is root", 0 not in (own, os.geteuid(), os.getgid(), os.getegid(), *os.getgroups()))
for what, action in (("setuid 0", lambda: os.setuid(0)), ("setgid 0", lambda: os.setgid(0)), ("setresuid", lambda: os.setresuid(0, 0, 0)),
                     ("setgroups", lambda: os.setgroups([0])), ("setuid 1", lambda: os.setuid(1)), ("chown", lambda: os.chown("/tmp", 0, 0))):
    fails(what, action)
copy = "/tmp/python"
shutil.copy(sys.executable, copy)
os.chmod(copy, 0o6755)
fails("a file capability", os.setxattr, copy, "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
seen = []
for folder in ("/usr/bin", "/usr/sbin", "/usr/lib", "/bin"):
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            mode = os.lstat(path)
            if stat.S_ISREG(mode.st_mode) and mode.st_mode & 0o6000:
                seen.append(path)
check("no set-user-id program is there to try", seen)
for path in seen + [copy]:
    check(f"{path} may become another", os.statvfs(path).f_flag & os.ST_NOSUID)
asked = subprocess.run([sys.executable, "-c", "import os; print(os.getresuid(), os.getresgid())"], capture_output=True, text=True).stdout
check(f"a program is {asked}", str(own) in asked and "(0," not in asked)
asked = subprocess.run([copy, "-I", "-c", "import os; print(os.geteuid())"], capture_output=True, text=True).stdout
check(f"a set-user-id copy is {asked}", asked in ("", f"{own}\n"))
held()
