// The life of images by the verbs of rbd, rbdelta and rbdelta on the local pool: what each answers.

import { compareAnswers } from './answers.ts';

compareAnswers(
  'verbs',
  `
create --size 8M --object-size 1M POOL/par
import --object-size 1M FILE POOL/full
image-meta set POOL/full color blue
snap create POOL/full@s
clone POOL/full@s POOL/kid
snap protect POOL/full@s
clone POOL/full@s POOL/kid
clone POOL/full@s POOL/kid
clone POOL/full@nosuch POOL/kid2
clone POOL/full POOL/kid2
clone POOL/full@s
clone --rbd-default-clone-format 2 --object-size 512K POOL/full@s POOL/kid2
clone --rbd-default-clone-format 2 POOL/full@s POOL/kid2
info POOL/kid
info POOL/kid2
info POOL/full
info POOL/full@s
info --format json POOL/kid2
ls -l POOL
ls -l POOL --format json
image-meta list POOL/kid
children POOL/full@s
children POOL/full
children POOL/full --format json
children POOL/full --all --format json
children POOL/full --all --format xml --pretty-format
children POOL/full@nosuch
children POOL/nosuch
snap unprotect POOL/full@s
snap rm POOL/full@s
rm POOL/full
import-diff DIFF POOL/kid
import-diff DIFF POOL/kid2
diff POOL/kid
diff POOL/kid2
diff --from-snap one POOL/kid
diff --whole-object POOL/kid
du POOL/kid
du POOL/kid@one
du POOL/kid --format json
du POOL/kid --exact
du -p POOL
du -p POOL --format xml
du POOL/nosuch
flatten POOL/kid
flatten POOL/kid
flatten POOL/par
children POOL/full
snap unprotect POOL/full@s
snap rm POOL/full@s
info POOL/full
snap ls POOL/full
children POOL/full
trash mv POOL/full
info POOL/kid2
trash ls POOL
trash ls POOL --format json
trash ls POOL --format xml
trash purge POOL
trash mv POOL/kid2
trash purge POOL
trash ls POOL
diff POOL/kid
status POOL/kid
status POOL/kid --format json
status POOL/kid@one
rename POOL/par POOL/kid
rename POOL/par renamed
rename POOL/nosuch POOL/x
rename POOL/renamed
ls POOL
image-meta list POOL/renamed
image-meta set POOL/renamed k1 v1
image-meta set POOL/renamed k2 v2
image-meta list POOL/renamed
image-meta list POOL/renamed --format xml
image-meta get POOL/renamed k1
image-meta get POOL/renamed nosuch
image-meta rm POOL/renamed k1
image-meta rm POOL/renamed k1
image-meta list POOL/renamed --format json
image-meta set POOL/renamed
namespace create POOL/ns
namespace create POOL/ns
namespace ls POOL
namespace ls POOL --format json
namespace rm POOL/nosuch
create --size 4M POOL/ns/x
namespace rm POOL/ns
rm POOL/ns/x
namespace rm POOL/ns
namespace ls POOL
snap create POOL/renamed@a
snap rename POOL/renamed@a POOL/renamed@b
snap rename POOL/renamed@a POOL/renamed@c
snap rename POOL/renamed@b POOL/kid@c
snap limit set POOL/renamed --limit 1
snap create POOL/renamed@c
snap limit set POOL/renamed --limit 0
snap limit set POOL/renamed
snap limit clear POOL/renamed
snap create POOL/renamed@c
snap rename POOL/renamed@b POOL/renamed@c
snap ls POOL/renamed
diff --whole-object --from-snap one POOL/kid
object-map rebuild POOL/kid
object-map rebuild POOL/kid@one
create --size 4M --image-feature layering POOL/nomap
object-map rebuild POOL/nomap
lock ls POOL/renamed
lock ls POOL/renamed --format json
lock ls POOL/renamed --format xml
lock add POOL/renamed id1
lock ls POOL/renamed
lock ls POOL/renamed --format json
lock ls POOL/renamed --format xml --pretty-format
ls -l POOL
lock add POOL/renamed id2
lock add POOL/renamed id2 --shared tag
resize --size 9M POOL/renamed
snap create POOL/renamed@z
image-meta set POOL/renamed a b
rename POOL/renamed POOL/again
lock rm POOL/renamed id1 client.1
lock rm POOL/renamed id1 foo
lock rm POOL/renamed id1
lock rm POOL/renamed
lock rm POOL/renamed id1 CLIENT
lock rm POOL/renamed id1 client.1
lock add POOL/renamed id1 --shared tag
lock ls POOL/renamed
lock add POOL/renamed id2 --shared tag
lock add POOL/renamed id3 --shared tag2
lock add POOL/renamed id3
lock list POOL/renamed
lock list POOL/renamed --format json
ls -l POOL --format json
lock remove POOL/renamed id1 CLIENT
lock remove POOL/renamed id2 CLIENT
lock add POOL/renamed
lock add
lock ls
lock ls POOL/renamed@b
lock add POOL/renamed@b x
lock ls POOL/nosuch
lock add POOL/nosuch x
lock rm POOL/nosuch x client.1
cp POOL/kid POOL/c1
cp POOL/kid POOL/c1
cp POOL/kid@one POOL/c2
cp POOL/kid@nosuch POOL/c3
cp POOL/nosuch POOL/c3
cp POOL/kid POOL/c3@x
cp POOL/kid
cp
cp POOL/kid POOL/nons/c3
copy --image-feature layering --object-size 512K --stripe-unit 64K --stripe-count 4 POOL/kid POOL/c3
cp --sparse-size 64K --image-shared -p POOL --image kid --snap one --dest-pool POOL --dest c4
info POOL/c1
info POOL/c2
info POOL/c3
info POOL/c4
diff POOL/c1
diff POOL/c3
du POOL/c2
image-meta list POOL/c1
deep cp POOL/kid POOL/d1
deep cp POOL/kid POOL/d1
deep cp POOL/kid@one POOL/d2
deep cp POOL/kid@nosuch POOL/d3
deep cp POOL/nosuch POOL/d3
deep cp POOL/kid POOL/d3@x
deep cp POOL/kid
deep copy --flatten --image-feature layering,exclusive-lock POOL/kid POOL/d3
info POOL/d1
info POOL/d1@one
info POOL/d2
info POOL/d3
snap ls POOL/d1
snap ls POOL/d2
image-meta list POOL/d1
diff --from-snap one POOL/d1
diff --whole-object --from-snap one POOL/d1
du POOL/d1
import --object-size 1M FILE POOL/base
snap create POOL/base@s
snap protect POOL/base@s
clone POOL/base@s POOL/kk
import-diff DIFF POOL/kk
snap protect POOL/kk@one
deep cp POOL/kk POOL/kk1
deep cp --flatten POOL/kk POOL/kk2
cp POOL/kk POOL/kk3
info POOL/kk1
info POOL/kk1@one
info POOL/kk2
info POOL/kk2@one
info POOL/kk3
du POOL/kk1
du POOL/kk3
diff POOL/kk1@one
children POOL/base --format json
ls -l POOL
snap unprotect POOL/kk1@one
snap unprotect POOL/kk2@one
snap unprotect POOL/kk@one
snap purge POOL/kk
snap purge POOL/kk1
snap purge POOL/kk2
rm POOL/kk
rm POOL/kk1
rm POOL/kk2
rm POOL/kk3
snap unprotect POOL/base@s
snap purge POOL/base
rm POOL/base
snap purge POOL/d1
snap purge POOL/d2
snap purge POOL/d3
rm POOL/c1
rm POOL/c2
rm POOL/c3
rm POOL/c4
rm POOL/d1
rm POOL/d2
rm POOL/d3
snap purge POOL/kid
snap purge POOL/renamed
rm POOL/kid
rm POOL/renamed
rm POOL/nomap
ls POOL
`,
);
