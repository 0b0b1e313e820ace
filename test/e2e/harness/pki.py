# SPDX-License-Identifier: Apache-2.0
"""Keys and certificates of one test cluster, made with openssl."""

import subprocess
from pathlib import Path


def _openssl(*arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def _key(path: Path) -> str:
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(path))
    return str(path)


class Pki:
    """Writes ca.crt, server.{crt,key} for 127.0.0.1 and sa.{key,pub} into `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        _openssl("req", "-x509", "-new", "-key", _key(folder / "ca.key"), "-subj", "/CN=partage test authority", "-days", "2", "-out", self.path("ca.crt"))
        self.issue("server", "/CN=kube-apiserver", "subjectAltName=IP:127.0.0.1,DNS:localhost")
        _openssl("ec", "-in", _key(folder / "sa.key"), "-pubout", "-out", self.path("sa.pub"))

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def issue(self, name: str, subject: str, extension: str = "extendedKeyUsage=clientAuth") -> None:
        """name.key and name.crt, signed by the authority. For a client: CN is the user, O the group."""
        request, extensions = self.folder / f"{name}.csr", self.folder / f"{name}.ext"
        extensions.write_text(extension + "\n")
        _openssl("req", "-new", "-key", _key(self.folder / f"{name}.key"), "-subj", subject, "-out", str(request))
        _openssl(
            "x509", "-req", "-in", str(request), "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"), "-CAcreateserial",
            "-days", "2", "-extfile", str(extensions), "-out", self.path(f"{name}.crt"),
        )  # fmt: skip

    def server_arguments(self) -> list[str]:
        """For a partage-scheduler whose extender asks its clients for a certificate of this authority."""
        files = {"cert": "server.crt", "key": "server.key", "client-ca": "ca.crt"}
        return [argument for flag, name in files.items() for argument in (f"--tls-{flag}-file", self.path(name))]
