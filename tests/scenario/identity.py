"""What identity.sh runs."""
import json
import os
import shutil
import socket
import ssl
import subprocess
import time

from swarm import (
    BIN,
    MODEL,
    ask,
    check,
    check_equal,
    main,
    refuse,
    report,
    request,
    start,
)

HOME = os.environ["PETALS_HOME"]
CA = os.path.join(HOME, "ca")
PROMPT = "Once upon a time"
state = {}


def ctl(*args, status=0):
    done = subprocess.run(
        [os.path.join(BIN, "petalsctl"), *map(str, args)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    check_equal(done.returncode, status, f"petalsctl {args}: {done.stderr}")
    return done.stdout if status == 0 else done.stderr


def credentials(name, role, *args, ca=CA):
    folder = os.path.join(HOME, "of", name)
    ctl("ca", "issue", "--ca", ca, "--name", name, "--role", role, "--out", folder, *args)
    return folder


def server(folder, *args, program=start):
    return program(
        "petals-server",
        "--directory",
        state["directory"].ready["address"],
        "--model",
        MODEL,
        "--threads",
        1,
        "--blocks",
        "0:30",
        "--log-level",
        "warn",
        *(["--credentials", folder] if folder else []),
        *args,
    )


def wait_until(what, done, within_s=20):
    end = time.monotonic() + within_s
    while not done():
        check(time.monotonic() < end, f"after {within_s} s: no {what}")
        time.sleep(0.1)


def metric(url, name):
    """A counter's series together, or 0."""
    total = 0.0
    for line in request(url)[1].splitlines():
        if line.startswith(name) and line[len(name)] in "{ ":
            total += float(line.rsplit(" ", 1)[1])
    return total


def refused_as(reason, by="directory"):
    url = state[by].ready["metrics"]
    return metric(url, 'petals_identity_refused_total{reason="%s"}' % reason)


def dial(address, folder=None, alpn="petals/1"):
    """A TLS client that is none of ours, and does not look at its own certificate: the alert it
    gets, or "" when it is let in."""
    context = ssl.create_default_context(cafile=os.path.join(CA, "ca.pem"))
    context.check_hostname = False
    if alpn:
        context.set_alpn_protocols([alpn])
    if folder:
        context.load_cert_chain(folder + "/cert.pem", folder + "/key.pem")
    host, port = address.rsplit(":", 1)
    try:
        with socket.create_connection((host, int(port)), 10) as plain:
            with context.wrap_socket(plain) as sealed:
                sealed.settimeout(1)
                sealed.recv(1)
                return "closed"
    except socket.timeout:
        return ""
    except ssl.SSLError as e:
        return str(e).upper().replace(" ", "_")


def an_operator_makes_a_ca():
    ctl("ca", "init", "--name", "region-1")
    said = ctl("ca", "init", status=1)
    check("holds a CA already" in said, said)
    state["directory"] = start(
        "petals-directory",
        "--listen",
        "127.0.0.1:0",
        "--metrics",
        "127.0.0.1:0",
        "--store",
        ":memory:",
        "--credentials",
        credentials("directory-1", "directory"),
        "--ca",
        CA,
    )
    state["server"] = server(credentials("server-1", "server"), "--metrics", "127.0.0.1:0")
    state["operator"] = credentials("alice", "operator,tenant")
    state["gateway"] = start(
        "petals-gateway",
        "--directory",
        state["directory"].ready["address"],
        "--model",
        MODEL,
        "--threads",
        1,
        "--listen",
        "127.0.0.1:0",
        "--log-level",
        "warn",
        "--credentials",
        credentials("gateway-1", "gateway"),
    )
    url = state["gateway"].ready["gateway"]
    wait_until("ready gateway", lambda: request(url + "/ready")[0] == 200)
    state["quiet"] = ask(url, PROMPT, 16)
    check(state["quiet"].error is None, f"error: {state['quiet'].error}")


def status_of(folder, status=0):
    directory = state["directory"].ready["address"]
    return ctl("status", "--directory", directory, "--credentials", folder, status=status)


def each_refusal_has_its_reason():
    """Refused, counted under its own reason, told to both sides; nobody else is disturbed."""
    other = os.path.join(HOME, "other-ca")
    ctl("ca", "init", "--ca", other, "--name", "other-1")
    foreign = credentials("mallory", "operator", ca=other)
    mixed = os.path.join(HOME, "of", "mixed")
    shutil.copytree(foreign, mixed)
    with open(os.path.join(mixed, "ca.pem"), "a") as both:
        both.write(open(os.path.join(CA, "ca.pem")).read())
    gone = credentials("gone", "operator")
    ctl("ca", "revoke", "gone")
    time.sleep(2.5)
    cases = [
        (foreign, None, "signed by a CA that is not ours"),
        (mixed, "foreign_ca", "our certificate is signed by a CA that is not its own"),
        (gone, "revoked", "our certificate was revoked"),
    ]
    for folder, reason, sentence in cases:
        before = refused_as(reason) if reason else 0
        said = status_of(folder, status=1)
        check(sentence in said, f"{folder}: {said}")
        if reason:
            check_equal(refused_as(reason), before + 1, f"counted as {reason}")
    said = state["directory"].said()
    check("the certificate of gone was revoked" in said, said)
    brief = credentials("brief-1", "server", "--life", "5s")
    time.sleep(5.2)
    at = state["server"].ready["address"]
    for folder, reason, alert in (
        (None, "none", "CERTIFICATE_REQUIRED"),
        (brief, "expired", "CERTIFICATE_EXPIRED"),
        (gone, "revoked", "CERTIFICATE_REVOKED"),
        (foreign, "foreign_ca", "UNKNOWN_CA"),
    ):
        before = refused_as(reason, "server")
        got = dial(at, folder)
        check(alert in got, f"{reason}: {got}")
        check_equal(refused_as(reason, "server"), before + 1, f"counted as {reason}")
    got = dial(at, state["operator"], "h2")
    check("NO_APPLICATION_PROTOCOL" in got, f"another protocol: {got}")
    said = state["server"].said()
    for sentence in (
        "it presented no certificate",
        "the certificate of brief-1 expired ",
        "the certificate of gone was revoked",
        "the certificate of mallory is signed by a CA that is not ours",
    ):
        check(sentence in said, f"not logged: {sentence}: {said}")
    answer = ask(state["gateway"].ready["gateway"], PROMPT, 16)
    check(answer.same(state["quiet"]), "other tokens afterwards")


def without_a_certificate_there_is_no_way_in():
    directory = state["directory"].ready["address"]
    said = ctl("status", "--directory", directory, "--insecure", status=1)
    check("directory " + directory in said, said)
    said = ctl("status", "--directory", directory, status=1)
    check("petalsctl ca issue --role operator" in said, said)


def a_role_is_held_to_its_verbs():
    """An operator's certificate makes no server, a server's neither watches over HTTP nor leases
    for others; a tenant does not see the swarm."""
    status, said = server(state["operator"], program=refuse)
    check_equal(status, 1, "exit status of an operator's server")
    check("does not let it be a server" in said, said)
    tenant = credentials("tom", "tenant")
    said = status_of(tenant, status=1)
    check("tom (tenant by its certificate) may not watch the swarm" in said, said)
    check("2 servers" not in status_of(state["operator"]), "who got in?")


def a_token_lets_one_program_in():
    directory = state["directory"].ready["address"]
    token = ctl("ca", "token", "--directory", directory).strip()
    folder = os.path.join(HOME, "joined")
    joined = server(folder, "--join", token, "--name", "joiner-1")
    state["joined"] = joined
    check("2 servers" in status_of(state["operator"]), "the joined server is not there")
    status, said = server(folder + "-2", "--join", token, "--name", "joiner-2", program=refuse)
    check_equal(status, 1, "exit status with a spent token")
    check("the join token was used before" in said, said)
    status, said = server(folder + "-3", "--join", token[:-1] + "x", program=refuse)
    check("cut off or mistyped" in said, said)
    late = ctl("ca", "token", "--directory", directory, "--ttl", "1s").strip()
    time.sleep(2.2)
    status, said = server(folder + "-4", "--join", late, "--name", "late", program=refuse)
    check("the join token expired" in said, said)
    shown = json.loads(ctl("ca", "show", "--json", "joiner-1"))
    check_equal([c["state"] for c in shown["certificates"]], ["valid"], "joiner-1")


def a_revoked_server_is_cut_off():
    ctl("ca", "revoke", "joiner-1")
    wait_until("server less", lambda: "1 servers" in status_of(state["operator"]) or
               "offline" in ctl("servers", "--directory", state["directory"].ready["address"],
                                "--credentials", state["operator"]))
    answer = ask(state["gateway"].ready["gateway"], PROMPT, 16)
    check(answer.same(state["quiet"]), "other tokens afterwards")
    # It keeps trying, and stops when told.
    check_equal(state["joined"].stop(within_s=60), 0, "exit status of the revoked server")


def certificates_are_renewed_in_time():
    folder = credentials("short-1", "server", "--life", "12s")
    short = server(folder, "--metrics", "127.0.0.1:0")
    url = short.ready["metrics"]
    wait_until("renewals", lambda: metric(url, "petals_keeper_renewals_total") >= 2, 40)
    check(short.process.poll() is None, "the server with a short life ended")
    shown = json.loads(ctl("ca", "show", "--json", "short-1"))
    check(len(shown["certificates"]) >= 3, f"{shown}")
    report(f"   {len(shown['certificates'])} certificates of short-1 in their time")
    said = state["directory"].said() + short.said()
    check("closing the connection" not in said.split("joiner-1")[-1], f"it was cut off: {said}")
    check_equal(short.stop(), 0, "exit status of the server with a short life")


def an_expired_certificate_is_refused_at_home():
    brief = credentials("brief", "operator", "--life", "5s")
    check("servers" in status_of(brief), "a certificate of five seconds")
    time.sleep(5.5)
    said = status_of(brief, status=1)
    check("the certificate of brief expired " in said, said)


def beyond_loopback_http_is_sealed():
    """A gateway on every address: its pages are HTTPS, for tenants and operators."""
    gateway = start(
        "petals-gateway",
        "--directory",
        state["directory"].ready["address"],
        "--model",
        MODEL,
        "--threads",
        1,
        "--listen",
        "0.0.0.0:0",
        "--log-level",
        "warn",
        "--credentials",
        credentials("gateway-2", "gateway", "--host", "localhost,127.0.0.1"),
    )
    url = gateway.ready["gateway"].replace("0.0.0.0", "localhost")
    check(url.startswith("https://"), url)

    def curl(folder, page):
        args = ["--cacert", os.path.join(state["operator"], "ca.pem")]
        if folder:
            args += ["--cert", folder + "/cert.pem", "--key", folder + "/key.pem"]
        done = subprocess.run(
            ["curl", "-s", "-w", "%{http_code}", "-o", "/dev/null", *args, url + page],
            capture_output=True, text=True, timeout=30,
        )
        return done.stdout

    wait_until("ready gateway", lambda: curl(state["operator"], "/ready") == "200")
    check_equal(curl(state["operator"], "/metrics"), "200", "an operator's /metrics")
    check_equal(curl(os.path.join(HOME, "of", "tom"), "/metrics"), "403", "a tenant's /metrics")
    check_equal(curl(os.path.join(HOME, "of", "tom"), "/v1/models"), "200", "a tenant's models")
    check_equal(curl(os.path.join(HOME, "of", "server-1"), "/v1/models"), "403", "a server's")
    check_equal(curl(None, "/ready"), "403", "nobody's /ready")
    args = ["generate", "--gateway", url, "--prompt", PROMPT, "--max-tokens", 16, "--json"]
    got = json.loads(ctl(*args, "--credentials", os.path.join(HOME, "of", "tom")))
    check_equal(got["token_ids"], state["quiet"].tokens, "tokens over HTTPS")
    said = ctl(*args, "--credentials", os.path.join(HOME, "of", "server-1"), status=1)
    check("server-1 (server by its certificate) may not generate" in said, said)
    check_equal(gateway.stop(), 0, "exit status of the gateway")


def everybody_stops():
    for name in ("gateway", "server", "directory"):
        check_equal(state[name].stop(), 0, f"exit status of the {name}")


main(
    an_operator_makes_a_ca,
    each_refusal_has_its_reason,
    without_a_certificate_there_is_no_way_in,
    a_role_is_held_to_its_verbs,
    a_token_lets_one_program_in,
    a_revoked_server_is_cut_off,
    certificates_are_renewed_in_time,
    an_expired_certificate_is_refused_at_home,
    beyond_loopback_http_is_sealed,
    everybody_stops,
)
