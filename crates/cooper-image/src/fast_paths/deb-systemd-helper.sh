#!/bin/sh
# What deb-systemd-helper does when a unit is installed for the first time, without the quarter of a second that Perl
# takes for a package's four calls. Everything else is the shipped program's.
set -eu

shipped() { exec /run/cooper/shipped/deb-systemd-helper "$@"; }

[ -z "${DPKG_ROOT-}${_DEB_SYSTEMD_HELPER_DEBUG-}${_DEB_SYSTEMD_HELPER_PURGE-}" ] || shipped "$@"
[ -n "${DPKG_MAINTSCRIPT_PACKAGE-}" ] || shipped "$@"

etc=/etc/systemd/system
enabled=/var/lib/systemd/deb-systemd-helper-enabled

# The links of a unit whose [Install] section says only who wants it.
links_of() { # unit, file
    while read -r line || [ -n "$line" ]; do
        case $line in
        [Aa][Ll][Ss][Oo]=* | [Aa][Ll][Ii][Aa][Ss]=* | [Dd][Ee][Ff][Aa][Uu][Ll][Tt][Ii]*=*) return 1 ;;
        WantedBy=*[!A-Za-z0-9.-]* | WantedBy= | RequiredBy=*[!A-Za-z0-9.-]* | RequiredBy=) return 1 ;;
        WantedBy=*) printf '%s\n' "$etc/${line#*=}.wants/$1" ;;
        RequiredBy=*) printf '%s\n' "$etc/${line#*=}.requires/$1" ;;
        [Ww][Aa][Nn][Tt][Ee][Dd][Bb][Yy]=* | [Rr][Ee][Qq][Uu][Ii][Rr][Ee][Dd][Bb][Yy]=*) return 1 ;;
        esac
    done <"$2"
}

enable() { # unit
    [ ! -x /bin/systemctl ] && [ ! -x /usr/bin/systemctl ] && [ ! -e "$enabled/$1.dsh-also" ] || return 1
    for folder in "$etc" /lib/systemd/system /usr/lib/systemd/system; do
        [ ! -f "$folder/$1" ] || break
    done
    [ -f "$folder/$1" ] || return 1
    links=$(links_of "$1" "$folder/$1") || return 1
    [ -n "$links" ] || return 1
    [ -d "$enabled" ] || mkdir -p "$enabled"
    printf '%s\n' "$links" >"$enabled/$1.dsh-also"
    for link in $links; do
        state=$enabled/${link#"$etc/"}
        [ ! -e "$state" ] || continue
        if [ ! -L "$link" ]; then
            [ -d "${link%/*}" ] || mkdir -p "${link%/*}"
            ln -s "$folder/$1" "$link"
        fi
        [ -d "${state%/*}" ] || mkdir -p "${state%/*}"
        : >>"$state"
    done
}

case $# in
2) action=$1 unit=$2 ;;
3) action="$1 $2" unit=$3 ;;
*) shipped "$@" ;;
esac
case $unit in
'' | *[!A-Za-z0-9._-]* | -* | .*) shipped "$@" ;;
esac
case $action in
unmask)
    if [ ! -e "$etc/$unit" ] && [ ! -e "${enabled%enabled}masked" ] &&
        [ ! -e /var/lib/systemd/deb-systemd-user-helper-masked ]; then
        exit 0
    fi
    ;;
'--quiet was-enabled') [ -e "$enabled/$unit.dsh-also" ] || exit 0 ;;
enable) ! enable "$unit" || exit 0 ;;
esac
shipped "$@"
