# escape sequences: they stay what they are where nobody shows them
sys.stdout.buffer.write(b"\x1b]0;title\x07\x1b[2J\x9b1m\xff\n")
sys.stdout.buffer.flush()
held()
