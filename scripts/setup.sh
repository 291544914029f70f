#!/usr/bin/env bash
# Installs what `make demo` and `make test` need and the machine does not have:
# MariaDB's server programs. Both run a private server of their own, in a
# folder of their own. This script never starts, stops or changes a database
# server of the system.
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

missing() {
	local program
	for program in mariadbd mariadb-install-db; do
		command -v "$program" >/dev/null || echo "$program"
	done
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
	if [ -n "$service_is_new" ] && [ -z "$(missing)" ]; then
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

	local package known=
	for package in mariadb-server mysql-server mysql-community-server percona-server-server; do
		if dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q ' installed$'; then
			known="$package"
		fi
	done

	keep_service_down
	if [ -z "$known" ] && ! command -v mariadbd >/dev/null; then service_is_new=yes; fi
	export DEBIAN_FRONTEND=noninteractive
	local apt=(apt-get -q -y -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
	"${apt[@]}" update </dev/null >&2 || say "apt-get update had errors; trying with what is known"
	# --no-remove: another MySQL server on this machine stays as it is.
	local install=(install --no-install-recommends --no-remove mariadb-server)
	# Ctrl-C ends the download. What comes after it runs in a session of its
	# own, because a dpkg that is interrupted leaves the system to be repaired:
	# bash hears the signal when it is done.
	if ! "${apt[@]}" --download-only "${install[@]}" </dev/null >&2 ||
		! setsid --wait "${apt[@]}" "${install[@]}" </dev/null >&2; then
		[ -z "$known" ] || say "$known is installed on this machine and Debian cannot hold both"
		refuse "mariadb-server could not be installed; apt-get says above why" \
			"after mending that, run: $self"
	fi
}

command -v go >/dev/null ||
	refuse "Go is missing; it builds backstay" "install Go 1.26 or newer from https://go.dev/dl/ and run this again"

[ -n "$(missing)" ] || exit 0
say "missing: $(missing | tr '\n' ' ')"
say "the demo and the tests run a private, throwaway MariaDB server of their own, and for that they need MariaDB's programs"

command -v apt-get >/dev/null ||
	refuse "this system has no apt-get" "install the MariaDB server (10.5 or newer) with its package manager and run this again"

if [ "$(id -u)" -eq 0 ]; then
	say "installing the package mariadb-server with apt-get"
	install_as_root
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
	say "installing the package mariadb-server with apt-get, through sudo"
	sudo -n env "PATH=$PATH" "http_proxy=${http_proxy:-}" "https_proxy=${https_proxy:-}" "no_proxy=${no_proxy:-}" bash "$self"
elif command -v sudo >/dev/null; then
	refuse "installing needs root; run this command, then the make command again:" "sudo bash $self"
else
	refuse "installing needs root; run this command, then the make command again:" "su -c 'bash $self'"
fi

[ -z "$(missing)" ] || refuse "still missing after the installation: $(missing | tr '\n' ' ')"
