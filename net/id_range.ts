/**
 * Ranges of user or group numbers, as values.
 *
 * @module
 */

/** Users or groups from `first` to `last`, both included. */
export interface IdRange {
  /** 0 to `last`. */
  readonly first: number;
  /** `first` to {@linkcode LAST_ID}. */
  readonly last: number;
}

/** The last number a user or group can have: 2^32 - 1 means "none" to the kernel (`(uid_t) -1`). */
export const LAST_ID = 0xffff_fffe;

/**
 * Reads `1000` or `1000-1999`.
 *
 * @returns the range, or undefined when `text` is none.
 */
export function parseIdRange(text: string): IdRange | undefined {
  const match = /^(0|[1-9]\d{0,9})(?:-(0|[1-9]\d{0,9}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]), last = Number(match[2] ?? match[1]);
  return first <= last && last <= LAST_ID ? { first, last } : undefined;
}

/** What {@linkcode parseIdRange} reads. */
export function formatIdRange({ first, last }: IdRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}
