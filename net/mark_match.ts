/**
 * Packet marks to be matched, as values.
 *
 * @module
 */

/** A packet mark that is `value` under `mask`. Both are unsigned 32-bit numbers. */
export interface MarkMatch {
  /** Of the bits in `mask`. */
  readonly value: number;
  /** The bits that count. */
  readonly mask: number;
}

/** Every bit of a mark. */
export const WHOLE_MARK = 0xffff_ffff;

/**
 * Reads `VALUE` or `VALUE/MASK`, each decimal or hexadecimal with `0x`, as `ip rule` and iptables write them.
 *
 * @returns the match, or undefined when `text` is none.
 */
export function parseMarkMatch(text: string): MarkMatch | undefined {
  const match = /^(0x[0-9a-f]{1,8}|\d{1,10})(?:\/(0x[0-9a-f]{1,8}|\d{1,10}))?$/i.exec(text);
  if (match === null) return undefined;
  const value = Number(match[1]), mask = match[2] === undefined ? WHOLE_MARK : Number(match[2]);
  return value <= WHOLE_MARK && mask <= WHOLE_MARK ? { value, mask } : undefined;
}

/** What {@linkcode parseMarkMatch} reads, in hexadecimal. */
export function formatMarkMatch({ value, mask }: MarkMatch): string {
  return mask === WHOLE_MARK ? hex(value) : `${hex(value)}/${hex(mask)}`;
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}
