/**
 * Commands as a shell reads them.
 *
 * @module
 */

/** The word as it is, or quoted: an interface's name may be `$(reboot)`. */
export function shellWord(word: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** A command and its arguments. */
export function shellLine(argv: readonly string[]): string {
  return argv.map(shellWord).join(" ");
}
