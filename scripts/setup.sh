#!/usr/bin/env bash
# Installs what `make demo` and `make test` need and the machine does not have.
# Both run a private MariaDB server of their own, in a folder of their own, and
# need its programs. With the argument "browser", as for `make test`, also what
# looks at the console: Chromium, and the accessibility checks of axe-core, one
# file in the user's cache folder. This script never starts, stops or changes a
# database server of the system.
set -euo pipefail

say() { printf 'setup: %s\n' "$*" >&2; }

PATH="$PATH:/usr/sbin:/sbin:/usr/local/sbin:/usr/local/go/bin"
export PATH

self="$(cd "$(dirname "$0")" && pwd)/$(basename "$0")"
policy=/usr/sbin/policy-rc.d
mark="written by backstay's scripts/setup.sh"
lock=/run/lock/backstay-setup.lock
service_is_new=
next_policy=
policy_is_ours=
unit_is_masked=

browser=
[ "${1:-}" != browser ] || browser=yes
axe_version=4.10.3
axe_sum=880970c081707360e64f34cea25ff91892f5bc95675b0776925b9709dd8a68bb # of its axe.min.js
axe="${BACKSTAY_AXE:-${XDG_CACHE_HOME:-$HOME/.cache}/backstay/axe-core-$axe_version.min.js}"

has_axe() { echo "$axe_sum  $axe" | sha256sum --check --status 2>/dev/null; }

server_missing() {
	local program
	for program in mariadbd mariadb-install-db; do
		command -v "$program" >/dev/null || echo "$program"
	done
}

missing() {
	server_missing
	[ -n "$browser" ] || return 0
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || echo chromium
	has_axe || command -v npm >/dev/null || echo npm
	command -v curl >/dev/null || echo curl
}

# refuse explains and ends. Its last line is the one command to run.
refuse() {
	local line
	for line in "$@"; do say "$line"; done
	exit 1
}

# Installing mariadb-server on Debian starts its service, on the port and the
# data folder of the system. It must stay down: nobody asked for it.
keep_service_down() {
	if [ -e "$policy" ] && grep -qsF "$mark" "$policy"; then
		rm -f "$policy" # left by a run that was killed
	fi
	if [ ! -e "$policy" ]; then
		next_policy="$(mktemp "$policy.XXXXXX")"
		# It speaks only of this service, and only while an installation by
		# this script holds the lock, so that it is harmless should kill -9
		# leave it behind.
		cat >"$next_policy" <<-POLICY
			#!/bin/sh
			# $mark, which removes it again
			if flock -n $lock true; then exit 0; fi
			case "\$1" in mariadb* | mysql*) exit 101 ;; esac
			exit 0
		POLICY
		chmod 755 "$next_policy"
		policy_is_ours=yes
		mv "$next_policy" "$policy"
		next_policy=
	elif "$policy" mariadb start >/dev/null 2>&1; [ $? -eq 101 ]; then
		: # the administrator's own policy keeps it down
	elif [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then
		unit_is_masked=yes
		systemctl --quiet --runtime mask mariadb.service mariadb.socket mariadb-extra.socket
	else
		refuse "$policy allows services to start, and installing mariadb-server would start one" \
			"install it yourself, then run this again: apt-get install mariadb-server"
	fi
}

clean_up() {
	if [ -n "$service_is_new" ] && [ -z "$(server_missing)" ]; then
		# Nobody uses it yet: neither the next boot nor a connection to its
		# socket is to start it.
		update-rc.d mariadb disable >/dev/null 2>&1 || true
		rm -f /etc/systemd/system/*.wants/mariadb{.service,.socket,-extra.socket}
		if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
		say "the system's own mariadb service was not started and is disabled; backstay does not use it"
	fi
	if [ -n "$policy_is_ours" ] && grep -qsF "$mark" "$policy"; then rm -f "$policy"; fi
	if [ -n "$next_policy" ]; then rm -f "$next_policy"; fi
	if [ -n "$unit_is_masked" ]; then systemctl --quiet --runtime unmask mariadb.service mariadb.socket mariadb-extra.socket || true; fi
}

install_as_root() {
	trap clean_up EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	# Two at once: the second finds nothing left to do.
	mkdir -p "$(dirname "$lock")"
	exec 9>"$lock"
	flock 9
	[ -n "$(missing)" ] || return 0

	local package known= packages=()
	[ -z "$(server_missing)" ] || packages+=(mariadb-server)
	while read -r package; do
		case "$package" in chromium | npm | curl) packages+=("$package") ;; esac
	done < <(missing)
	say "installing with apt-get: ${packages[*]}"
	for package in mariadb-server mysql-server mysql-community-server percona-server-server; do
		if dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then
			known="$package"
		fi
	done

	[ -z "$(server_missing)" ] || keep_service_down
	if [ -z "$known" ] && ! command -v mariadbd >/dev/null; then service_is_new=yes; fi
	export DEBIAN_FRONTEND=noninteractive
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
	"${apt[@]}" update </dev/null >&2 || say "apt-get update had errors; trying with what is known"
	# --no-remove: another MySQL server on this machine stays as it is.
	local install=(install --no-install-recommends --no-remove "${packages[@]}")
	# Ctrl-C ends the download. What comes after it runs in a session of its
	# own, because a dpkg that is interrupted leaves the system to be repaired:
	# bash hears the signal when it is done.
	if ! "${apt[@]}" --download-only "${install[@]}" </dev/null >&2 ||
		! setsid --wait "${apt[@]}" "${install[@]}" </dev/null >&2; then
		[ -z "$known" ] || [ -z "$(server_missing)" ] || say "$known is installed on this machine and Debian cannot hold both"
		refuse "${packages[*]} could not be installed; apt-get says above why" \
			"after mending that, run: $self ${browser:+browser}"
	fi
}

command -v go >/dev/null ||
	refuse "Go is missing; it builds backstay" "install Go 1.26 or newer from https://go.dev/dl/ and run this again"

# fetch_axe gets the one file of axe-core that the tests read.
fetch_axe() {
	local folder
	folder="$(mktemp -d)"
	# shellcheck disable=SC2064 # the folder of now
	trap "rm -rf '$folder'" EXIT
	say "getting axe-core $axe_version, which checks the console's pages for accessibility"
	(cd "$folder" && npm pack --silent "axe-core@$axe_version" >/dev/null && tar -xzf "axe-core-$axe_version.tgz" package/axe.min.js) ||
		refuse "axe-core could not be fetched with npm" "after mending that, run: $self browser"
	echo "$axe_sum  $folder/package/axe.min.js" | sha256sum --check --status ||
		refuse "axe-core $axe_version is not the file that is expected; nothing was kept"
	mkdir -p "$(dirname "$axe")"
	mv "$folder/package/axe.min.js" "$axe.new"
	mv "$axe.new" "$axe"
}

if [ -n "$(missing)" ]; then
	say "missing: $(missing | tr '\n' ' ')"
	say "the demo and the tests run a private, throwaway MariaDB server of their own, and for that they need MariaDB's programs"
	[ -z "$browser" ] || say "the tests look at the console's pages in Chromium"

	command -v apt-get >/dev/null ||
		refuse "this system has no apt-get" "install with its package manager what is missing (the MariaDB server, 10.5 or newer; Chromium; npm; curl) and run this again"

	as_root=("${browser:+browser}")
	if [ "$(id -u)" -eq 0 ]; then
		install_as_root
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
		say "installing through sudo"
		sudo -n env "PATH=$PATH" "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}" "BACKSTAY_AXE=$axe" "BACKSTAY_SETUP=packages" bash "$self" "${as_root[@]}"
	elif command -v sudo >/dev/null; then
		refuse "installing needs root; run this command, then the make command again:" "sudo BACKSTAY_SETUP=packages bash $self ${browser:+browser}"
	else
		refuse "installing needs root; run this command, then the make command again:" "su -c 'BACKSTAY_SETUP=packages bash $self ${browser:+browser}'"
	fi
	[ -z "$(missing)" ] || refuse "still missing after the installation: $(missing | tr '\n' ' ')"
fi

# What is the user's own is not fetched as root.
if [ -n "$browser" ] && [ "${BACKSTAY_SETUP:-}" != packages ] && ! has_axe; then fetch_axe; fi
