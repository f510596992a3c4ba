// The forms in which verbs of rbd print, and what they refuse: the same by rbd, rbdelta and rbdelta on the local pool.

import { compareAnswers } from './answers.ts';

compareAnswers(
  'forms',
  `
create --size 8M --object-size 1M POOL/a
create --size 8M --object-size 1M POOL/a
create --size 8M --object-size 3M POOL/odd
create --size 8M --order 11 POOL/x
create --size 8M --image-feature nosuch POOL/x
create --size 8M --image-feature object-map POOL/x
create --size 8M --image-feature layering --image-feature exclusive-lock POOL/two
create --size 8M --image-shared POOL/shared
create --size 8M --stripe-unit 64K POOL/x
create --size 8M --stripe-count 4 POOL/x
create --size 8M --stripe-unit 3K --stripe-count 4 POOL/x
create --size 8M --stripe-unit 64K --stripe-count 4 POOL/striped
create --size 8M --data-pool data POOL/data
create --size 8M --data-pool nosuch POOL/x
create --size 8M --image-format 1 POOL/x
create --size 8M --image-format 3 POOL/x
create --size 8M --thick-provision --no-progress POOL/thick
create --size 8M nosuchpool/x
create --size 8M POOL/nosuchns/x
create --size 8M POOL/x@snap
create --size 8X POOL/x
create --size -8M POOL/x
create POOL/x
create --size 8M
create --size 0 POOL/empty
create --size 1 POOL/mib
create POOL/x --size 8M --nosuch
create --size 8M POOL/x extra
info POOL/a --format json --pretty-format
info POOL/a --format xml
info POOL/a --format xml --pretty-format
info POOL/a --format yaml
info POOL/a --pretty-format
info POOL/odd
info POOL/two
info POOL/shared
info POOL/striped
info POOL/striped --format json
info POOL/data
info POOL/data --format xml
info POOL/empty
info POOL/mib --format json
info POOL/nosuch
info POOL/a@nosuch
info nosuchpool/a
info POOL/nosuchns/a
info
info POOL/a POOL/two
info --image a -p POOL
info -p POOL
info -p POOL --image a --snap nosuch
status POOL/a --format xml
status POOL/a --format xml --pretty-format
status POOL/a --format json --pretty-format
status POOL/nosuch
status
snap ls POOL/a
snap ls POOL/a --format json
snap ls POOL/a --format xml
snap ls POOL/nosuch
snap ls POOL/a@s
snap ls
snap create POOL/a
snap create POOL/a@s1
snap create POOL/a@s1
snap create POOL/nosuch@s1
snap create POOL/a@s2 --no-progress --skip-quiesce
snap protect POOL/a@s1
snap protect POOL/a@s1
snap protect POOL/a@nosuch
snap protect POOL/a
snap unprotect POOL/a@s2
snap unprotect POOL/a@nosuch
snap ls POOL/a
snap ls POOL/a --format json
snap ls POOL/a --format json --pretty-format
snap ls POOL/a --format xml
snap ls POOL/a --format xml --pretty-format
snap ls POOL/a --all
snap ls POOL/a --all --format json
snap ls POOL/a --all --format xml --pretty-format
snap ls --image-id nosuch -p POOL
snap rm POOL/a@s1
snap rm POOL/a@nosuch
snap rm POOL/a
snap rm POOL/nosuch@s
snap rename POOL/a@s1
snap rename POOL/a@nosuch POOL/a@x
snap rename POOL/a@s1 POOL/a@s2
snap rollback POOL/a@nosuch
snap rollback POOL/a
snap rollback POOL/a@s2 --no-progress
snap purge POOL/nosuch
snap limit set POOL/nosuch --limit 3
snap limit set POOL/a --limit x
snap limit set POOL/a --limit 5
info POOL/a
info POOL/a --format json
info POOL/a --format xml
snap limit clear POOL/nosuch
snap limit clear POOL/a
snap limit clear POOL/a
snap limit clear POOL/a@s1
resize POOL/a --size 16M --no-progress
resize POOL/a --size 4M --no-progress
resize POOL/a --size 4M --allow-shrink --no-progress
resize POOL/a --size 4M --no-progress
resize POOL/nosuch --size 4M
resize POOL/a
resize POOL/a@s1 --size 4M
ls POOL --format json
ls POOL --format json --pretty-format
ls POOL --format xml
ls POOL --format xml --pretty-format
ls POOL -l
ls POOL -l --format json --pretty-format
ls POOL -l --format xml
ls POOL -l --format xml --pretty-format
ls nosuchpool
ls nosuchpool -l
ls POOL/nosuchns
ls -l POOL/nosuchns
ls POOL --format yaml
clone POOL/a@s1 POOL/kid
clone POOL/a@s1 POOL/kid
ls POOL -l --format xml
children POOL/a@s1 --format json
children POOL/a@s1 --format xml
children POOL/a --format xml --pretty-format
children POOL/a --format json --pretty-format
children POOL/a --all
children POOL/a --descendants
children POOL/kid
children POOL/kid --format json
children POOL/kid --format xml
children POOL/nosuch --format json
children
info POOL/kid --format json
info POOL/kid --format xml --pretty-format
snap unprotect POOL/a@s1
rm POOL/empty --no-progress
du POOL/thick
du POOL/a
du POOL/a --format json --pretty-format
du POOL/a --format xml
du POOL/a@s1
du POOL/a@nosuch
du POOL/a@s1 --format json
du -p POOL --format json
du -p POOL --format json --pretty-format
du -p POOL --merge-snapshots
du POOL/a --merge-snapshots
du POOL/shared
du nosuchpool/a
du -p nosuchpool
du -p POOL --namespace nosuchns
image-meta ls POOL/a
image-meta ls POOL/nosuch
image-meta set POOL/a key1 value
image-meta set POOL/a key1
image-meta set POOL/nosuch key1 value
image-meta ls POOL/a
image-meta ls POOL/a --format json --pretty-format
image-meta ls POOL/a --format xml --pretty-format
image-meta set POOL/a key2 other
image-meta ls POOL/a --format xml --pretty-format
image-meta get POOL/a
image-meta get POOL/a key2
image-meta get POOL/nosuch key2
image-meta get POOL/a nosuch
image-meta rm POOL/a nosuch
image-meta rm POOL/a
image-meta rm POOL/nosuch key
object-map check POOL/a
object-map check POOL/a@s1 --no-progress
object-map check POOL/shared
object-map check POOL/nosuch
object-map check
object-map rebuild POOL/nosuch
object-map rebuild
object-map rebuild POOL/a --no-progress
object-map rebuild POOL/shared
object-map rebuild POOL/a@nosuch
namespace ls POOL
namespace ls POOL --format json
namespace ls POOL --format xml
namespace create POOL/n1
namespace create POOL/n1
namespace create POOL
namespace create
namespace create nosuchpool/n1
namespace create --namespace n2 -p POOL
namespace ls POOL
namespace ls POOL --format json --pretty-format
namespace ls POOL --format xml
namespace ls POOL --format xml --pretty-format
namespace ls nosuchpool
namespace rm POOL/n2
namespace rm POOL/n2
namespace rm POOL
create --size 4M POOL/n1/x
ls POOL/n1 -l
namespace rm POOL/n1
du -p POOL --namespace n1
lock ls POOL/a --format json --pretty-format
lock ls POOL/a --format xml --pretty-format
trash ls POOL
trash ls POOL --format json
trash ls POOL --format xml
trash ls POOL --long
trash ls POOL --long --format json
trash ls nosuchpool
trash ls POOL/nosuchns
trash mv POOL/nosuch
trash mv POOL/a@s1
trash mv POOL/shared
trash ls POOL --long
trash ls POOL --long --format json --pretty-format
trash ls POOL --long --format xml --pretty-format
trash ls POOL --all
trash ls POOL --format json --pretty-format
trash mv POOL/two --expires-at tomorrow
trash purge POOL --threshold 2
trash purge POOL --threshold x
trash purge POOL --threshold 1
trash ls POOL
trash purge POOL --threshold 0 --no-progress
trash ls POOL
trash rm POOL/nosuch
trash rm
trash restore POOL/nosuch
trash restore
rename POOL/kid POOL/kid
rename POOL/kid nosuchpool/x
rm POOL/nosuch
rm POOL/a
rm
rm POOL/kid --no-progress
rm POOL/a@s1
rm POOL/data
rm POOL/n1/x
flatten POOL/nosuch
flatten
cp POOL/a@s1 nosuchpool/x
info POOL/a --nosuch
rm POOL/thick
import --object-size 1M FILE POOL/full
trash mv POOL/full --expires-at tomorrow
trash purge POOL --threshold 1
trash ls POOL
`,
);
