#!/bin/sh
# Folders of a market on a server (SFTP) or a shared disk, with one account per party: each party
# writes only where it may. Everybody may read, for everything but keys, sizes and times is
# encrypted to its reader. Run as root, again for each merchant:
#   folders.sh MARKET SCIENTIST_USER SCIENTIST_EMAIL MERCHANT_USER MERCHANT_EMAIL
# Each account needs a group of its own name, as useradd makes it; umask 0022.
set -eu
[ $# -eq 5 ] || { echo "expected: $0 MARKET SCIENTIST_USER SCIENTIST_EMAIL MERCHANT_USER MERCHANT_EMAIL" >&2; exit 2; }
install -d -o 0 -g 0 -m 0755 "$1"
install -d -o "$2" -g "$2" -m 0755 "$1/$3"
install -d -o "$4" -g "$4" -m 0755 "$1/$5" "$1/$5/inbox"
# Who sends writes here as the group; the merchant owns the folder and removes what it has taken.
install -d -o "$4" -g "$2" -m 0775 "$1/$5/inbox/$3"
