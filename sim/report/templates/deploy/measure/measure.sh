#!/bin/sh
# Measure on the cloud what was promised: how long a create from an image takes on each volume type if its
# pool has no copy of the image (cold), if it has one (warm), and if many come at once (storm).
# The script uploads fresh copies of an image, which no cache has, and makes volumes of them. At its end, and
# on Ctrl-C, it deletes the volumes, the image copies, and what the caches kept of them.
set -u

usage() {
    cat <<'EOT'
usage: measure.sh [--dry-run] [--warm N] [--storm N] [--timeout SECONDS] [--types FILE] [--out FILE] [IMAGE]
  IMAGE         id of the image that is copied (default: the one in image.txt)
  --warm N      creates after the first one on each volume type (default: 5)
  --storm N     creates at once on each volume type; 0: none (default: 10)
  --timeout S   how long to wait for a volume (default: 3600)
  --types FILE  lines of a volume type, how many pools it has, and its zone if it has one (default: types.txt;
                tabs stand between them)
  --out FILE    the CSV file to write (default: measured.csv)
  --dry-run     print what would be done, and only ask for the image
It needs the `openstack` command and credentials of an administrator. Use a project with a quota for all volumes.
EOT
}

here=$(dirname "$0")
dry='' warm=5 storm=10 timeout=3600 types=$here/types.txt out=measured.csv
while [ $# -gt 0 ]; do
    case $1 in
        --dry-run) dry=yes ;;
        --warm | --storm | --timeout | --types | --out)
            [ $# -gt 1 ] || { echo "measure.sh: $1 needs a value" >&2; exit 2; }
            case $1 in
                --warm) warm=$2 ;;
                --storm) storm=$2 ;;
                --timeout) timeout=$2 ;;
                --types) types=$2 ;;
                --out) out=$2 ;;
            esac
            shift ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "measure.sh: there is no option $1" >&2; usage >&2; exit 2 ;;
        *) break ;;
    esac
    shift
done
for number in "$warm" "$storm" "$timeout"; do
    case $number in '' | *[!0-9]* | 0?*) echo "measure.sh: $number is no number" >&2; exit 2 ;; esac
done
[ "$timeout" -gt 0 ] || { echo "measure.sh: --timeout 0 waits for nothing" >&2; exit 2; }
[ -r "$types" ] || { echo "measure.sh: cannot read $types" >&2; exit 2; }
[ $# -le 1 ] || { echo "measure.sh: give one image" >&2; exit 2; }
image=${1:-$(awk 'NF && !/^#/ {print $1; exit}' "$here/image.txt" 2>/dev/null)}
[ -n "$image" ] || { echo "measure.sh: give the id of an image" >&2; exit 2; }
case $out in /*) ;; *) out=$PWD/$out ;; esac

tab=$(printf '\t') poll=${MEASURE_POLL_S:-2} failed=0
work=$(mktemp -d) || exit 1
lock=${TMPDIR:-/tmp}/cinder-measure.lock
mine=cinder-measure-$(id -u)@$(uname -n)  # the name of copies; those of volumes begin with it
if ! mkdir "$lock" 2>/dev/null; then
    holder=$(cat "$lock/pid" 2>/dev/null)
    if [ -n "$holder" ] && kill -0 "$holder" 2>/dev/null; then
        echo "measure.sh: process $holder is measuring already" >&2
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
: >"$work/volumes" && : >"$work/copies" && : >"$work/rows"

# Delete a volume, and wait until it is gone: its image-volume may be its clone, or its source.
deleted() {
    openstack volume delete "$1" >/dev/null || { echo "measure.sh: cannot delete volume $1" >&2; return 1; }
    left=$timeout
    while openstack volume show "$1" -f value -c status >/dev/null 2>&1; do
        [ "$left" -gt 0 ] || { echo "measure.sh: volume $1 is still there" >&2; return 1; }
        sleep "$poll"
        left=$((left - poll))
    done
}

# Delete all that was made: volumes, image copies, and the caches' image-volumes of these.
clean() {
    while read -r id; do deleted "$id" || failed=1; done <"$work/volumes"
    : >"$work/volumes"
    while read -r id; do
        openstack image delete "$id" || { echo "measure.sh: cannot delete image $id" >&2; failed=1; }
        openstack volume list --all-projects --name "image-$id" -f value -c ID >"$work/kept"
        while read -r kept; do deleted "$kept" || failed=1; done <"$work/kept"
    done <"$work/copies"
    : >"$work/copies"
}

# Delete what has the names of this user's runs on this machine: of this one, creates whose answer did not
# come too, and of one that was killed.
left_over() {
    openstack volume list --all-projects -f value -c ID -c Name |
        awk -v mine="$mine:" 'index($2, mine) == 1 {print $1}' >"$work/volumes"
    openstack image list --name "$mine" -f value -c ID >"$work/copies"
    clean
}

ended() {
    trap '' INT TERM HUP
    wait  # for creates under way
    [ -n "$dry" ] || left_over
    rm -rf "$work" "$lock"
    [ "$failed" -eq 0 ] || [ "$1" -ne 0 ] || exit 1
    exit "$1"
}
trap 'ended 130' INT
trap 'ended 143' TERM HUP

# A fresh copy of the image; its id is in $copy.
copied() {
    copy=$(openstack image create --file "$work/image" --disk-format "$disk" --container-format "$container" \
        -f value -c id "$mine") && [ -n "$copy" ] || return 1
    echo "$copy" >>"$work/copies"
}

# Ask for a volume of the copy; its id goes to the file $1.
asked() {
    into=$1
    set -- volume create --image "$copy" --size "$size" --type "$kind"
    [ -z "$zone" ] || set -- "$@" --availability-zone "$zone"
    openstack "$@" -f value -c id "$mine:$copy" >"$into" && [ -s "$into" ]
}

# Seconds of a time as Cinder writes it, UTC.
seconds='function at(text, p, y, m) {
    split(text, p, /[-T:.Z+]/); y = p[1]; m = p[2]
    if (m < 3) { y--; m += 12 }
    return ((365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * m - 457) / 5) + p[3]) * 24 \
        + p[4]) * 3600 + p[5] * 60 + (p[6] "." (text ~ /\./ ? substr(p[7], 1, 6) : 0))
}'

# Wait for the volume $1 and write its row; $2 is cold, warm or storm ("" = cold on a pool that has no copy).
measured() {
    left=$timeout
    while :; do
        status=$(openstack volume show "$1" -f value -c status)
        case $status in available | error | '') break ;; esac
        [ "$left" -gt 0 ] || { status=timeout; break; }
        sleep "$poll"
        left=$((left - poll))
    done
    openstack volume show "$1" -f json -c created_at -c updated_at -c os-vol-host-attr:host >"$work/shown"
    [ "$status" = available ] || { echo "measure.sh: volume $1 ($kind) is ${status:-gone}" >&2; failed=1; }
    awk '{ gsub(/, *"/, "\n\""); print }' "$work/shown" | awk -v status="${status:-gone}" -v way="$2" -v kind="$kind" \
        -v copy="$copy" -v size="$size" -v volume="$1" -v seen="$work/pools" -F'": *' "$seconds"'
        function quoted(text) { gsub(/"/, "\"\"", text); return "\"" text "\"" }
        { value = $2; gsub(/[",{}]/, "", value); sub(/ *$/, "", value) }
        $1 ~ /created_at$/ { made = value }
        $1 ~ /updated_at$/ { ready = value }
        $1 ~ /host$/ { host = value == "null" ? "" : value }
        END {
            while ((getline pool <seen) > 0) if (pool == host) has = 1
            close(seen)
            if (way == "") way = has ? "warm" : "cold"
            if (host != "") print host >>seen
            took = status == "available" ? sprintf("%.3f", at(ready) - at(made)) : ""
            printf "%s,%s,%s,%s,%s,%d,%s,%s,%s\n", way, quoted(kind), quoted(host), copy, volume, size, \
                status, made, took
        }' | tee -a "$work/rows"
}

[ -n "$dry" ] || left_over
if ! openstack image show "$image" -f json -c virtual_size -c size -c min_disk -c disk_format \
    -c container_format >"$work/told"; then
    echo "measure.sh: image $image cannot be read" >&2
    ended 1
fi
value_of() { tr , '\n' <"$work/told" | awk -F: -v key="\"$1\"" '$1 ~ key {gsub(/[" {}]/, "", $2); print $2}'; }
disk=$(value_of disk_format) container=$(value_of container_format)
# GiB that a volume of the image needs: the most of its virtual size, its size and min_disk.
size=$(printf '%s\n' "$(value_of virtual_size)" "$(value_of size)" | awk -v most="$(value_of min_disk)" '
    { n = $1 / 1073741824; n = n > int(n) ? int(n) + 1 : n; if (n > most + 0) most = n }
    END { print most < 1 ? 1 : most }')
if [ -n "$dry" ]; then
    echo "openstack image save --file FILE $image"
elif ! openstack image save --file "$work/image" "$image"; then
    echo "measure.sh: image $image cannot be read" >&2
    ended 1
fi

awk 'NF && (!/^#/ || /\t/)' "$types" >"$work/types"  # names of volume types may begin with #
while IFS="$tab" read -r kind _ zone <&3; do
    if [ -n "$dry" ]; then
        with="--image COPY --size $size --type $kind${zone:+ --availability-zone $zone}"
        echo "openstack image create --file FILE --disk-format $disk --container-format $container $mine"
        echo "openstack volume create $with $mine:COPY  # one after another: $((1 + warm))"
        [ "$storm" -eq 0 ] || echo "openstack volume create $with $mine:COPY  # at once: $storm"
        continue
    fi
    # One after another: the first on each pool is cold.
    : >"$work/pools"
    if copied; then
        number=0
        while [ "$number" -le "$warm" ]; do
            number=$((number + 1))
            if asked "$work/id"; then
                read -r id <"$work/id"
                echo "$id" >>"$work/volumes"
                measured "$id" ""
            else
                echo "measure.sh: no volume on $kind" >&2
                failed=1
            fi
        done
    else
        echo "measure.sh: the image cannot be copied" >&2
        failed=1
    fi
    clean
    # At once, of an image that no pool has.
    [ "$storm" -gt 0 ] || continue
    if copied; then
        number=0
        while [ "$number" -lt "$storm" ]; do
            number=$((number + 1))
            asked "$work/storm-$number" &
        done
        wait
        : >"$work/pools"
        number=0
        while [ "$number" -lt "$storm" ]; do
            number=$((number + 1))
            if [ -s "$work/storm-$number" ]; then
                cat "$work/storm-$number" >>"$work/volumes"
            else
                echo "measure.sh: no volume on $kind" >&2
                failed=1
            fi
        done
        while read -r id <&4; do measured "$id" storm; done 4<"$work/volumes"
    else
        echo "measure.sh: the image cannot be copied" >&2
        failed=1
    fi
    clean
done 3<"$work/types"
if [ -z "$dry" ]; then
    { echo "kind,volume_type,host,image_id,volume_id,size_gib,status,created_at,create_s"; cat "$work/rows"; } \
        >"$out.new" && mv "$out.new" "$out" || failed=1
    echo "measure.sh: written to $out" >&2
fi
ended 0
