#!/usr/bin/env bash
# What a crontab runs every night: back up, thin out, prove. Silent on standard output; the status is not 0 when anything
# failed, and standard error says what was done and what was not.
#   nightly.sh REPOSITORY IMAGE…      nightly.sh s3://bucket/prod 'volumes/vm-*'
# In a crontab:   0 2 * * *  root  nightly.sh s3://bucket/prod 'volumes/vm-*' 2>> /var/log/rbdelta.log || mail …
set -uo pipefail
repository=$1
shift
rbdelta=${RBDELTA:-rbdelta}
status=0

# An image that fails does not keep the others from being backed up.
$rbdelta backup --wait 600 "$@" "$repository" || status=$?

# Whatever stays keeps what it needs, so any point may go.
$rbdelta repo prune "$repository" --wait 600 --keep-daily 7 --keep-weekly 5 --keep-monthly 12 || status=$?

# A chain that is whole today may be damaged tomorrow: some of it is read every night, all of it within three weeks.
$rbdelta repo verify "$repository" --level scrub --percent 5 > /dev/null || status=$?

exit $status
