// rbdelta repo init: a new repository.

import { existsSync } from 'node:fs';
import { expectNoRepository, initRepository } from '../../repo/repository.ts';
import type { Command } from '../command.ts';
import { object, toJson } from '../print.ts';
import { repositoryFrom, withRepository, withStore } from '../repository.ts';
import { s3Options } from '../s3.ts';

export const command: Command = {
  positionals: ['<repository>'],
  options: ['like', 'dry-run', 'json', ...s3Options],
  examples: [
    ['repo init /backups', 'in a directory, which is made if it is not there'],
    ['repo init --like /backups s3://bucket/prod', 'to copy points of /backups to'],
    ['repo init s3://bucket/prod', 'in a bucket that exists, below a prefix'],
  ],
  notes:
    'Credentials, endpoint and region of S3 come from where every AWS tool takes them: AWS_ENDPOINT_URL, AWS_PROFILE, ' +
    'AWS_REGION and so on, ~/.aws, the role of the instance.',
  async run(call) {
    const where = repositoryFrom(call);
    if (call.args.has('dry-run')) {
      // a directory that is not there is made with it
      if (where.startsWith('s3:') || existsSync(where)) await withStore(call, where, {}, expectNoRepository);
      return call.notice(`would make a repository in ${where}`);
    }
    await withStore(call, where, { create: true }, async (store) => {
      const like = call.args.text('like');
      const key = like === null ? undefined : await withRepository(call, like, async ({ digestKey }) => digestKey);
      const { id } = await initRepository(store, Date.now(), key);
      call.notice(`made the repository ${id} in ${store.nameOf('')}`);
      if (call.args.has('json')) await call.stdout.write(toJson(object(['repository', where], ['id', id]), false));
    });
  },
};
