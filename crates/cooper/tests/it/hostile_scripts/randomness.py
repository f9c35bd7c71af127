# randomness that another run has too
import json, random, secrets, ssl, uuid
values = [random.random(), random.getrandbits(64), random.SystemRandom().random(), secrets.token_hex(8), str(uuid.uuid4()),
          str(uuid.uuid1()), ssl.RAND_bytes(8).hex(), os.urandom(8).hex(), random.Random().random()]
with open(os.environ["COOPER_RESULT"], "w") as file:
    json.dump(values, file)
held()
