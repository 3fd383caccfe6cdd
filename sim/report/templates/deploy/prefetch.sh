#!/bin/sh
# Fill the image-volume caches with images, before users ask for them: run it when images are released.
# It makes volumes of each image on each volume type, waits until they are there, and deletes them. The
# copies that the caches keep stay. It is safe to run again, and ends the work of a run of the same user on
# this machine that was killed. Volumes of other users and machines stay.
set -u

usage() {
    cat <<'EOF'
usage: prefetch.sh [--dry-run] [--jobs N] [--timeout SECONDS] [--images FILE] [--types FILE] [IMAGE...]
  IMAGE         ids of the images (default: those in prefetch-images.txt)
  --types FILE  lines of a volume type, how many pools it has, and its zone if it has one (default:
                those in prefetch-types.txt; tabs stand between them)
  --jobs N      how many volumes there may be at once (default: 2)
  --timeout S   how long to wait for a volume (default: 3600)
  --dry-run     print what would be done, and only ask for the sizes of the images
It needs the `openstack` command and credentials of an administrator. Use a project with a quota for N volumes.
EOF
}

here=$(dirname "$0")
dry='' jobs=2 timeout=3600 images=$here/prefetch-images.txt types=$here/prefetch-types.txt failed=0
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --jobs | --timeout | --images | --types)
            [ $# -gt 1 ] || { echo "prefetch.sh: $1 needs a value" >&2; exit 2; }
            case $1 in
                --jobs) jobs=$2 ;;
                --timeout) timeout=$2 ;;
                --images) images=$2 ;;
                --types) types=$2 ;;
            esac
            shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "prefetch.sh: there is no option $1" >&2; usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
for number in "$jobs" "$timeout"; do
    case $number in '' | *[!0-9]* | 0*) echo "prefetch.sh: $number is no number from 1 on" >&2; exit 2 ;; esac
done
[ -r "$types" ] || { echo "prefetch.sh: cannot read $types" >&2; exit 2; }
[ $# -gt 0 ] || [ -r "$images" ] || { echo "prefetch.sh: cannot read $images" >&2; exit 2; }

tab=$(printf '\t')
mine=cinder-prefetch-$(id -u)@$(uname -n):  # with which names of volumes begin
work=$(mktemp -d) || exit 1
lock=${TMPDIR:-/tmp}/cinder-prefetch.lock
if ! mkdir "$lock" 2>/dev/null; then
    holder=$(cat "$lock/pid" 2>/dev/null)
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
        echo "prefetch.sh: process $holder is prefetching already" >&2
        rmdir "$work"
        exit 1
    fi
    # Another user may have made it: write only into a folder of our own.
    rm -rf "$lock" 2>/dev/null
    if ! mkdir "$lock"; then
        rmdir "$work"
        exit 1
    fi
fi
echo $$ >"$lock/pid"
trap 'rm -rf "$work" "$lock"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# The lines of a list, without comments. A line with a tab is none: names of volume types may begin with #.
words() { awk 'NF && (!/^#/ || /\t/)' "$1"; }
if [ $# -gt 0 ]; then printf '%s\n' "$@"; else words "$images" | awk '{print $1}'; fi >"$work/images"
words "$types" >"$work/types"

# GiB that a volume of the image needs: the most of its virtual size, its size and min_disk.
size_of() {
    told=$(openstack image show "$1" -f json -c virtual_size -c size -c min_disk) || return 1
    printf '%s\n' "$told" |
        tr , '\n' | awk -F: '
            /"(virtual_size|size)"/ { n = $2 / 1073741824; n = n > int(n) ? int(n) + 1 : n; if (n > most) most = n }
            /"min_disk"/ { if ($2 + 0 > most) most = $2 + 0 }
            END { print most < 1 ? 1 : most }'
}

deleted() {
    openstack volume delete "$1" || { echo "prefetch.sh: cannot delete volume $1" >&2; return 1; }
}

# Whether a volume is there; the seconds that are left are in $left.
ready() {
    while :; do
        case $(openstack volume show "$1" -f value -c status) in
            available) return 0 ;;
            error | '') return 1 ;;
        esac
        [ "$left" -gt 0 ] || return 1
        sleep "${PREFETCH_POLL_S:-5}"
        left=$((left - ${PREFETCH_POLL_S:-5}))
    done
}

# Wait for the volumes in $work/made, say where they came to lie, and delete them.
finish() {
    [ -s "$work/made" ] || return 0
    left=$timeout
    while IFS="$tab" read -r id of on; do
        if ready "$id"; then
            host=$(openstack volume show "$id" -f value -c os-vol-host-attr:host)
            echo "$of $on: filled ${host:-a pool}"
        else
            echo "prefetch.sh: volume $id of image $of ($on) is not available" >&2
            failed=1
        fi
    done <"$work/made"
    while IFS="$tab" read -r id of on; do
        deleted "$id" || failed=1
    done <"$work/made"
    : >"$work/made"
}

: >"$work/made"
if [ -z "$dry" ]; then
    # What a run left that was killed.
    openstack volume list -f value -c ID -c Name | awk -v mine="$mine" 'index($2, mine) == 1 {print $1}' >"$work/left"
    while read -r volume; do deleted "$volume" || failed=1; done <"$work/left"
fi
while read -r image; do
    if ! size=$(size_of "$image") || [ -z "$size" ]; then
        echo "prefetch.sh: image $image cannot be read" >&2
        failed=1
        continue
    fi
    # All volumes of a type are there at the same time, so that the scheduler spreads them over its pools.
    while IFS="$tab" read -r kind pools zone; do
        number=0
        while [ "$number" -lt "${pools:-1}" ]; do
            number=$((number + 1))
            set -- volume create --image "$image" --size "$size" --type "$kind"
            [ -z "$zone" ] || set -- "$@" --availability-zone "$zone"
            set -- "$@" -f value -c id "$mine$image-$number"
            if [ -n "$dry" ]; then
                echo "openstack $*"
                continue
            fi
            if volume=$(openstack "$@") && [ -n "$volume" ]; then
                printf '%s\t%s\t%s\n' "$volume" "$image" "$kind" >>"$work/made"
            else
                echo "prefetch.sh: no volume of image $image ($kind)" >&2
                failed=1
            fi
            [ "$(wc -l <"$work/made")" -lt "$jobs" ] || finish
        done
    done <"$work/types"
done <"$work/images"
finish
exit "$failed"
