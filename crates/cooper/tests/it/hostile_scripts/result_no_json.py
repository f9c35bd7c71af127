# a result that is no JSON
with open(os.environ["COOPER_RESULT"], "wb") as file:
    file.write(b'{"a": NaN, \xff')
held()
