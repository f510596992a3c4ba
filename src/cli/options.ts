// Every option of every command, once: its names, whether it takes a value, what it is for.

export interface OptionSpec {
  /** Other names: one letter is `-x`, more are `--xyz`. */
  alias?: readonly string[];
  /** What the value is called in the help; an option without is a flag. */
  value?: string;
  /** May be given more than once. */
  many?: true;
  group: OptionGroup;
  describe: string;
  /** What a value must be, where its name does not tell enough: for the hint about one that will not do. */
  expects?: string;
  /** Accepted without a word in the help; with a text: the notice says to use that instead. */
  hidden?: true;
  deprecated?: string;
}

export type OptionGroup =
  | 'Backup'
  | 'Keep'
  | 'Verify'
  | 'Names'
  | 'Diff'
  | 'Stream'
  | 'S3'
  | 'New image'
  | 'Cache'
  | 'Target'
  | 'Output'
  | 'Cluster';

const table = {
  pool: { alias: ['p'], value: 'POOL', group: 'Names', describe: 'pool' },
  namespace: { value: 'NAME', group: 'Names', describe: 'namespace of the pool' },
  image: { value: 'IMAGE', group: 'Names', describe: 'image; a whole spec will do' },
  snap: { value: 'SNAP', group: 'Names', describe: 'snapshot' },
  'image-id': { value: 'ID', group: 'Names', describe: 'id of the image, in place of its name' },
  'dest-snap': { value: 'SNAP', group: 'Names', describe: 'new name of the snapshot' },
  'snap-id': {
    value: 'ID',
    group: 'Names',
    describe: 'id of the snapshot, in place of its name',
    expects: 'a number, which snap ls shows',
  },
  path: { value: 'PATH', group: 'Names', describe: 'file, - or s3://bucket/key' },
  'dest-pool': { value: 'POOL', group: 'Names', describe: 'pool of the new image' },
  'dest-namespace': { value: 'NAME', group: 'Names', describe: 'namespace of the new image' },
  dest: { value: 'IMAGE', group: 'Names', describe: 'the new image; a whole spec will do' },

  'dest-cluster-dir': { value: 'DIR', group: 'Cluster', describe: 'the copy goes to the local pool in this directory' },
  'dest-conf': { value: 'FILE', group: 'Cluster', describe: 'the copy goes to the Ceph of this ceph.conf' },

  from: { value: 'POINT', group: 'Diff', describe: 'from this point of the image on, as one diff' },
  'from-snap': { value: 'SNAP', group: 'Diff', describe: 'only what changed since this snapshot' },
  'whole-object': { group: 'Diff', describe: 'whole objects, not exact extents (faster, larger)' },
  offset: { value: 'SIZE', group: 'Diff', describe: 'start of the range, in bytes or as 10G [0]' },
  length: { value: 'SIZE', group: 'Diff', describe: 'length of the range [to the end]' },
  'diff-format': { value: '1|2', group: 'Diff', describe: 'version of the diff stream [1]' },

  compress: { value: 'zstd[:LEVEL]', group: 'Stream', describe: 'compress what is written' },
  'max-rate': {
    value: 'SIZE',
    group: 'Stream',
    describe: 'bytes a second at most, as 50M',
    expects: 'a size above 0, as 50M',
  },
  'queue-depth': { value: 'N', group: 'Stream', describe: 'reads or writes under way at once' },
  'export-format': { value: '1|2', group: 'Stream', describe: '1: raw bytes, 2: with snapshots [1]' },
  'sparse-size': { value: 'SIZE', group: 'Stream', describe: 'zeros of this size become holes [4K]' },

  full: { group: 'Backup', describe: 'a full, though there is a point to build on' },
  compare: { group: 'Backup', describe: 'read everything; store what differs from the last point' },
  tag: { value: 'TAG', many: true, group: 'Backup', describe: 'a word to find or keep points by' },
  trim: { group: 'Backup', describe: 'leave out what was rewritten with the same bytes' },
  remove: { group: 'Backup', describe: 'take the tags away' },
  pre: { value: 'COMMAND', group: 'Backup', describe: 'run before the snapshot is made, or a file is read' },
  post: { value: 'COMMAND', group: 'Backup', describe: 'run when that is done, or has failed' },
  'hook-timeout': { value: 'SECONDS', group: 'Backup', describe: 'end a hook that takes longer [300]' },
  wait: { value: 'SECONDS', group: 'Backup', describe: 'wait for another writer of the image [0]' },
  'keep-last': { value: 'N', group: 'Keep', describe: 'the newest points' },
  'keep-hourly': { value: 'N', group: 'Keep', describe: 'one of each of the newest hours' },
  'keep-daily': { value: 'N', group: 'Keep', describe: 'one of each of the newest days' },
  'keep-weekly': { value: 'N', group: 'Keep', describe: 'one of each of the newest weeks' },
  'keep-monthly': { value: 'N', group: 'Keep', describe: 'one of each of the newest months' },
  'keep-yearly': { value: 'N', group: 'Keep', describe: 'one of each of the newest years' },
  'keep-within': {
    value: 'AGE',
    group: 'Keep',
    describe: 'all that are not older, as 30d (s m h d w y)',
    expects: 'a number and a unit, as 12h, 30d or 2w',
  },
  'keep-tag': { value: 'TAG', many: true, group: 'Keep', describe: 'all with this tag' },
  like: { value: 'REPOSITORY', group: 'Backup', describe: 'with the same key: points are copied as they are' },
  'storage-class': { value: 'CLASS', group: 'Stream', describe: 'of segments in S3, as STANDARD_IA' },
  sse: { value: 'AES256|aws:kms[:KEY]', group: 'Stream', describe: 'encryption by the S3 server' },

  's3-endpoint': { value: 'URL', group: 'S3', describe: 'the server [AWS_ENDPOINT_URL, or AWS]' },
  's3-region': { value: 'REGION', group: 'S3', describe: 'region [AWS_REGION]' },
  's3-profile': { value: 'NAME', group: 'S3', describe: 'section of ~/.aws [AWS_PROFILE]' },
  'path-style': { value: 'auto|yes|no', group: 'S3', describe: 'https://host/bucket; auto: not at AWS' },
  'ca-file': { value: 'FILE', group: 'S3', describe: 'PEM: trust only these [AWS_CA_BUNDLE]' },

  level: { value: 'audit|scrub|source|rehearse', group: 'Verify', describe: 'how far the proof goes [audit]' },
  percent: {
    value: 'N',
    group: 'Verify',
    describe: 'share of the frames to scrub [100]',
    expects: 'more than 0, at most 100',
  },
  command: { value: 'COMMAND', group: 'Verify', describe: 'what looks at the restored file' },

  rollback: { group: 'Target', describe: 'HEAD differs from the base: put it back first' },
  force: { group: 'Target', describe: 'apply as rbd does, without comparing HEAD with the base' },
  overwrite: { group: 'Target', describe: 'a full onto an image with data: replace all of it' },
  'skip-existing': { group: 'Target', describe: 'end snapshot exists: nothing to do, status 0' },
  repair: { group: 'Target', describe: 'finish, remove or make anew what is not as it should be' },
  'dry-run': { group: 'Target', describe: 'read and check everything, write nothing' },
  'in-place': { group: 'Target', describe: 'the target is there: overwrite what differs in it' },
  'expires-at': {
    value: 'TIME',
    group: 'Target',
    describe: 'protected until then: 7 days, 2030-12-24 [now]',
    expects: 'a time, as now, tomorrow, 7 days or 2030-12-24',
  },
  'expired-before': {
    value: 'TIME',
    group: 'Target',
    describe: 'what expires before that time [now]',
    expects: 'a time, as now, 7 days or 2030-12-24',
  },
  threshold: {
    value: 'SHARE',
    group: 'Target',
    describe: 'until no more than this share of the pool is full, protected ones as well: 0.8',
    expects: 'a number from 0 to 1, as 0.8',
  },
  shared: { value: 'TAG', group: 'Target', describe: 'together with others of this tag' },
  limit: { value: 'N', group: 'Target', describe: 'how many there may be', expects: 'a whole number' },
  'allow-shrink': { group: 'Target', describe: 'permit a smaller size' },

  cache: { value: 'POOL[/NAMESPACE]', group: 'Cache', describe: 'where the bases are [as the volume]' },
  key: { value: 'KEY', group: 'Cache', describe: 'what tells the source from any other [path and time of change]' },
  'max-count': { value: 'N', group: 'Cache', describe: 'bases there may be, else the least recently used go' },
  'max-size': {
    value: 'SIZE',
    group: 'Cache',
    describe: 'bytes that bases may have together, as 500G',
    expects: 'a size above 0, as 500G',
  },

  size: {
    alias: ['s'],
    value: 'SIZE',
    group: 'New image',
    describe: 'size, as 10G [M]',
    expects: 'a size, as 512M or 10G; a number alone counts MiB',
  },
  'object-size': {
    value: 'SIZE',
    group: 'New image',
    describe: 'object size, 4K to 32M [4M]',
    expects: 'a size from 4K to 32M',
  },
  order: {
    value: 'N',
    group: 'New image',
    describe: '',
    hidden: true,
    deprecated: '--object-size',
    expects: 'a number from 12 to 25',
  },
  'image-format': { value: '2', group: 'New image', describe: 'only 2', hidden: true },
  'new-format': { group: 'New image', describe: '', hidden: true, deprecated: 'it is the default' },
  'image-feature': {
    value: 'NAME,…',
    many: true,
    group: 'New image',
    describe: 'features, separated by commas',
    expects: 'layering, striping, exclusive-lock, object-map, fast-diff, deep-flatten, journaling',
  },
  'image-shared': { group: 'New image', describe: 'no exclusive lock, nor what needs it' },
  'stripe-unit': { value: 'SIZE', group: 'New image', describe: 'stripe unit' },
  'stripe-count': { value: 'N', group: 'New image', describe: 'stripe count' },
  'data-pool': { value: 'POOL', group: 'New image', describe: 'pool for the data objects' },
  parent: { value: 'IMAGE@SNAP', group: 'New image', describe: 'a clone of this, that holds what differs' },
  flatten: { group: 'New image', describe: 'no clone, though its parent may be here' },
  'max-depth': {
    value: 'N',
    group: 'New image',
    describe: 'flatten what would have more parents than this',
    expects: 'a whole number',
  },
  'rbd-default-clone-format': {
    value: '1|2|auto',
    group: 'New image',
    describe: '1: of protected snapshots, 2: of any',
  },
  'mirror-image-mode': { value: 'journal|snapshot', group: 'New image', describe: '', hidden: true },
  'journal-splay-width': { value: 'N', group: 'New image', describe: '', hidden: true, expects: 'a whole number' },
  'journal-object-size': {
    value: 'SIZE',
    group: 'New image',
    describe: '',
    hidden: true,
    expects: 'a size from 4K to 64M',
  },
  'journal-pool': { value: 'POOL', group: 'New image', describe: '', hidden: true },
  'thick-provision': { group: 'New image', describe: 'write zeros to all of it: space is taken at once' },
  'yes-i-really-really-mean-it': { group: 'Target', describe: 'with all images in it' },
  'skip-quiesce': { group: 'Target', describe: '', hidden: true },
  'ignore-quiesce-error': { group: 'Target', describe: '', hidden: true },

  images: { group: 'Output', describe: 'a line for each image, not for each point' },
  descendants: { group: 'Output', describe: 'clones of clones as well' },
  exact: { group: 'Output', describe: 'to the byte, not by objects: slower' },
  'merge-snapshots': { group: 'Output', describe: 'one line for an image and its snapshots' },
  long: { alias: ['l'], group: 'Output', describe: 'sizes, snapshots, parents' },
  all: { alias: ['a'], group: 'Output', describe: 'snapshots of every kind, not only the user’s' },
  format: { value: 'plain|json|xml', group: 'Output', describe: 'how to print [plain]' },
  json: { group: 'Output', describe: 'print json' },
  'pretty-format': { group: 'Output', describe: 'indent json and xml' },
  'no-progress': { group: 'Output', describe: 'no progress on the terminal' },
  help: { alias: ['h'], group: 'Output', describe: 'this text' },
  version: { alias: ['v'], group: 'Output', describe: 'the version', hidden: true },

  'cluster-dir': { value: 'DIR', group: 'Cluster', describe: 'the local pool in this directory' },
  timeout: { value: 'SECONDS', group: 'Cluster', describe: 'give up without an answer [monitor: 30, OSD: 120]' },
  conf: { alias: ['c'], value: 'FILE', group: 'Cluster', describe: 'ceph.conf' },
  cluster: { value: 'NAME', group: 'Cluster', describe: 'name of the Ceph cluster [ceph]' },
  id: { alias: ['user'], value: 'ID', group: 'Cluster', describe: 'Ceph user, without `client.`' },
  name: { alias: ['n'], value: 'NAME', group: 'Cluster', describe: 'Ceph user, as client.backup' },
  'mon-host': { alias: ['m'], value: 'HOSTS', group: 'Cluster', describe: 'addresses of monitors' },
  keyring: { alias: ['k'], value: 'FILE', group: 'Cluster', describe: 'keyring of the user' },
  keyfile: { alias: ['K'], value: 'FILE', group: 'Cluster', describe: 'the key of the user alone' },
} as const satisfies Record<string, OptionSpec>;

export type OptionName = keyof typeof table;
export const options: Record<OptionName, OptionSpec> = table;

const expectedOf: Record<string, string> = {
  SIZE: 'a size, as 4096, 64K or 10G',
  N: 'a whole number above 0',
  SECONDS: 'a number of seconds above 0, as 10 or 0.5',
};

/** The hint about a value that will not do, or about none at all; undefined where anything will do. */
export function valueHint(name: OptionName): string | undefined {
  const { value = '', expects } = options[name];
  const choices = value.includes('|') ? value.split('|').join(' or ') : undefined;
  const expected = expects ?? expectedOf[value] ?? choices;
  return expected === undefined ? undefined : `--${name} takes ${expected}`;
}

/** Which options go together. */
export const imageNames = ['pool', 'namespace', 'image'] as const;
export const snapNames = [...imageNames, 'snap'] as const;
export const output = ['format', 'json', 'pretty-format'] as const;
export const cephOptions = ['conf', 'cluster', 'id', 'name', 'mon-host', 'keyring', 'keyfile'] as const;
export const cluster = ['cluster-dir', 'timeout', ...cephOptions] as const;
export const destination = ['dest-pool', 'dest-namespace', 'dest'] as const;
export const creation = [
  'object-size',
  'order',
  'image-format',
  'new-format',
  'image-feature',
  'image-shared',
  'stripe-unit',
  'stripe-count',
  'data-pool',
  'mirror-image-mode',
  'journal-splay-width',
  'journal-object-size',
  'journal-pool',
] as const;

const byName = new Map<string, OptionName>();
for (const [name, spec] of Object.entries(options) as [OptionName, OptionSpec][]) {
  byName.set(name, name);
  for (const alias of spec.alias ?? []) byName.set(alias, name);
}

/** The option that `--text` (or `-t`) names; undefined if it is none of ours. */
export const optionNamed = (text: string): OptionName | undefined => byName.get(text);
