#!/bin/sh
# A build job as it uses a shared cache. Its lease is all that keeps its folder from being evicted meanwhile.
#
#   job.sh FOLDER FILES SECONDS   fills FOLDER up to so many files of 1 MiB, then works on for so many seconds
set -eu
folder=$1 files=$2 seconds=$3

# Take a lease, and look once whether it is there: the folder may have gone in that very moment. Then start over; it may
# have come back meanwhile, with the lease in it.
lease=
until mkdir -p "$folder" && lease=$(mktemp "$folder/.lease.XXXXXX" 2>/dev/null) && test -e "$lease"; do
    sleep 0.1
    rm -f "$lease"
done
trap 'rm -f "$lease"' EXIT

echo "took $(ls "$folder" | wc -l)"
for number in $(seq "$files"); do
    test -e "$folder/$number" || { head -c 1048576 /dev/urandom >"$folder/$number" && sleep 0.1; }
done
echo "filled $(ls "$folder" | wc -l)"
sleep "$seconds"
echo "found $(ls "$folder" | wc -l)"

rm -f "$lease"
echo "released"
