#!/bin/sh
# Make the project and the user that own the cache's image-volumes, and write their ids into the files here.
# It is safe to run again: what is there stays.
set -eu
name=${1:-cinder-internal}
cd "$(dirname "$0")"
project=$(openstack project show "$name" -f value -c id 2>/dev/null) ||
    project=$(openstack project create "$name" -f value -c id)
user=$(openstack user show "$name" -f value -c id 2>/dev/null) ||
    user=$(openstack user create "$name" --project "$project" -f value -c id)
for id in "$project" "$user"; do
    case $id in '' | *[!0-9A-Za-z-]*) echo "tenant.sh: $id is no id" >&2; exit 1 ;; esac
done
find . -type f \( -name '*.conf' -o -name '*.yml' -o -name '*.yaml' -o -name 'quotas.sh' \) \
    -exec grep -lE 'CINDER_INTERNAL_TENANT_(PROJECT|USER)_ID' {} + | while read -r file; do
    sed -e "s/CINDER_INTERNAL_TENANT_PROJECT_ID/$project/g" -e "s/CINDER_INTERNAL_TENANT_USER_ID/$user/g" \
        "$file" >"$file.new"
    cat "$file.new" >"$file"
    rm "$file.new"
    echo "$file: project $project, user $user"
done
