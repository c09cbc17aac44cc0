#!/usr/bin/env bash
# paramiko 5.1.0 (PyPI), OpenSSL and OpenSSH of Debian 12
#
# Guess:   a private key that ssh and ssh-keygen read is one that paramiko's PKey.from_path reads.
# Seen:    keys in PKCS#8 ("BEGIN PRIVATE KEY"), what `openssl genpkey` has written for years and what
#          Terraform's tls_private_key offers beside PEM, are refused for RSA, EC and Ed25519 alike: "not a valid
#          RSA private key file".
# Matters: build keys and keys out of secret stores are often such; the message sends people to look for a broken
#          file or a wrong passphrase. `ssh-keygen -p -N "" -f KEY` rewrites it in OpenSSH's form.
# Needs:   openssl, ssh-keygen, python3 with pip.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m pip install -qq --disable-pip-version-check --no-compile --target "$work/lib" paramiko==5.1.0
cd "$work"
openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa 2>/dev/null
openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out ec 2>/dev/null
openssl genpkey -algorithm ED25519 -out ed25519
chmod 600 rsa ec ed25519
for key in rsa ec; do
  echo "ssh-keygen reads $key: $(ssh-keygen -y -f "$key" | cut -d' ' -f1)"
done
PYTHONPATH="$work/lib" python3 - <<'PY'
import sys
import paramiko

refused = 0
for name in ("rsa", "ec", "ed25519"):
    try:
        paramiko.PKey.from_path(name)
    except paramiko.SSHException as error:
        print(f"paramiko, {name}: {error!s}".strip())
        refused += 1
sys.exit(refused != 3)
PY
