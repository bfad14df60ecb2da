#!/bin/sh
# setup.sh - installs the Debian packages that a step needs, if any is missing.
#
#	tools/setup.sh build|test|check|dpdk
#
# Looks first and says nothing when all is there.  Installs through apt, as
# root or through sudo, naming each package and why; elsewhere it only names
# what is missing.
set -u

# step  package  what shows that it is there  why
# There: cmd:NAME in the PATH, pc:NAME for pkg-config, file:PATTERN.
needs='
build  gcc                   cmd:gcc             compiles C
build  libc6-dev             file:/usr/include/stdio.h  headers of the C library
build  make                  cmd:make            runs the build
build  pkg-config            cmd:pkg-config      finds libraries
build  liburing-dev          pc:liburing         asynchronous sockets
build  libjansson-dev        pc:jansson          JSON
build  libmicrohttpd-dev     pc:libmicrohttpd    the HTTP server
build  libgnutls28-dev       pc:gnutls           HTTPS of the HTTP server
build  libsqlite3-dev        pc:sqlite3          the store of the directory
build  libpcre2-dev          pc:libpcre2-8       regular expressions of tokenizers
build  libutf8proc-dev       pc:libutf8proc      Unicode normalisation
build  libssl-dev            pc:openssl          TLS, certificates, AES-GCM on any CPU
build  libipsec-mb-dev       file:/usr/include/intel-ipsec-mb.h  AES-GCM near the speed of memory
build  libcurl4-openssl-dev  pc:libcurl          HTTP requests of petalsctl
test   libcmocka-dev         pc:cmocka           the test harness
test   g++                   cmd:g++             CUDA kernels for the CPU that stands in for a GPU
test   curl                  cmd:curl            scenarios that talk to the gateway
test   ca-certificates       file:/etc/ssl/certs/ca-certificates.crt  HTTPS
test   python3               cmd:python3         scenarios, fetching the model
test   python3-pip           file:/usr/lib/python3/dist-packages/pip  fetching the model
test   python3-venv          file:/usr/lib/python3*/ensurepip  Python packages of scenarios
check  clang                 cmd:clang           libFuzzer and the static analyser
check  clang-tools           cmd:scan-build      drives the static analyser
dpdk   libdpdk-dev           pc:libdpdk          the DPDK port, a module of its own
dpdk   iproute2              cmd:ip              network namespaces of its tests
test   ethtool               cmd:ethtool         veth pairs as tests want them
check  libclang-rt-14-dev    file:/usr/lib/llvm-*/lib/clang/*/lib/linux/*rt.fuzzer-*  libFuzzer
'

case ${1-} in
build) steps=" build " ;;
test) steps=" build test dpdk " ;;
check) steps=" build test dpdk check " ;;
dpdk) steps=" build dpdk " ;;
*) echo "usage: tools/setup.sh build|test|check|dpdk" >&2; exit 2 ;;
esac

there() { # HOW
	case $1 in
	cmd:*) command -v "${1#cmd:}" >/dev/null 2>&1 ;;
	pc:*) pkg-config --exists "${1#pc:}" >/dev/null 2>&1 ;;
	file:*)
		for file in ${1#file:}; do
			[ -e "$file" ] && return 0
		done
		return 1 ;;
	esac
}

# One call of pkg-config for all libraries: this runs before every build.
set -f
modules=
while read -r step package how why; do
	case "$steps:$how" in *" $step "*:pc:*) modules="$modules ${how#pc:}" ;; esac
done <<END
$needs
END
# shellcheck disable=SC2086 # a list of words
libraries_there=no
pkg-config --exists $modules >/dev/null 2>&1 && libraries_there=yes
set +f

missing=
reasons=
while read -r step package how why; do
	case "$steps" in *" $step "*) ;; *) continue ;; esac
	case $how in pc:*) [ $libraries_there = yes ] && continue ;; esac
	[ -n "$package" ] || continue
	there "$how" && continue
	missing="$missing $package"
	reasons="$reasons$(printf '  %-22s %s' "$package" "$why")
"
done <<END
$needs
END
[ -n "$missing" ] || exit 0

echo "These packages are missing:"
printf '%s' "$reasons"
if ! command -v apt-get >/dev/null 2>&1; then
	echo "tools/setup.sh: this is not Debian: install what is named above in its own way" >&2
	exit 1
fi
as_root=
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1; then
		echo "tools/setup.sh: neither root nor sudo; as root: apt-get install$missing" >&2
		exit 1
	fi
	as_root=sudo
fi

install() {
	# shellcheck disable=SC2086 # lists of words
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=120 "$@"
}
echo "Installing them with apt-get${as_root:+ through sudo}."
# shellcheck disable=SC2086 # a list of words
install update && install install --no-install-recommends $missing && exit 0
echo "tools/setup.sh: apt-get could not install$missing; its own message stands above" >&2
exit 1
