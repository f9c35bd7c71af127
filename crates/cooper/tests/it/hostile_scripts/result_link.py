# a result that is a link to a file of the host
path = os.environ["COOPER_RESULT"]
os.symlink("@SECRET@", path)
held()
