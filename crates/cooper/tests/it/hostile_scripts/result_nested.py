# a result that is nested too deep
with open(os.environ["COOPER_RESULT"], "wb") as file:
    file.write(b"[" * 200_000 + b"]" * 200_000)
held()
