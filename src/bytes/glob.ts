// Patterns of names: `*` stands for any characters, `?` for one.

export const isGlob = (text: string): boolean => /[*?]/u.test(text);

/** Whether the pattern stands for the name; one that is called just so is meant itself. */
export function globMatches(pattern: string, name: string): boolean {
  if (pattern === name) return true;
  if (!isGlob(pattern)) return false;
  const source = pattern
    .replaceAll(/[.+^${}()|[\]\\]/gu, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${source}$`, 'su').test(name);
}
