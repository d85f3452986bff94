"""Makes an OCI archive of another image, which starts another way unless the entrypoint is null:
variant.py FROM TO ENTRYPOINT-AS-JSON."""

import hashlib, json, os, shutil, sys, tarfile, tempfile

source, target, entrypoint = sys.argv[1:]
with tempfile.TemporaryDirectory(dir=os.path.dirname(target)) as folder:
    with tarfile.open(source) as archive:
        archive.extractall(folder, filter="data")
    blobs = os.path.join(folder, "blobs", "sha256")

    def read(descriptor):
        with open(os.path.join(blobs, descriptor["digest"].removeprefix("sha256:"))) as blob:
            return json.load(blob)

    def write(descriptor, document):
        text = json.dumps(document).encode()
        digest = hashlib.sha256(text).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as blob:
            blob.write(text)
        return {**descriptor, "digest": "sha256:" + digest, "size": len(text)}

    index_file = os.path.join(folder, "index.json")
    with open(index_file) as file:
        index = json.load(file)
    manifest = read(index["manifests"][0])
    config = read(manifest["config"])
    config["config"].setdefault("Labels", {})["variant"] = os.path.basename(target)
    if json.loads(entrypoint):
        config["config"]["Entrypoint"] = json.loads(entrypoint)
        config["config"].pop("Cmd", None)
    manifest["config"] = write(manifest["config"], config)
    index["manifests"] = [write(index["manifests"][0], manifest)]
    with open(index_file, "w") as file:
        json.dump(index, file)
    with tarfile.open(target + ".partial", "w") as archive:
        for name in sorted(os.listdir(folder)):
            archive.add(os.path.join(folder, name), arcname=name)
os.replace(target + ".partial", target)
