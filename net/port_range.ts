/**
 * Ranges of ports, as values.
 *
 * @module
 */

/** Ports from `first` to `last`, both included. */
export interface PortRange {
  /** 1 to `last`. */
  readonly first: number;
  /** `first` to 65535. */
  readonly last: number;
}

/**
 * Reads `53` or `1000-2000`. Ports begin at 1: nobody can send to port 0.
 *
 * @returns the range, or undefined when `text` is none.
 */
export function parsePortRange(text: string): PortRange | undefined {
  const match = /^([1-9]\d{0,4})(?:-([1-9]\d{0,4}))?$/.exec(text);
  if (match === null) return undefined;
  const first = Number(match[1]), last = Number(match[2] ?? match[1]);
  return first <= last && last <= 65_535 ? { first, last } : undefined;
}

/** What {@linkcode parsePortRange} reads: `53` or `1000-2000`. */
export function formatPortRange({ first, last }: PortRange): string {
  return first === last ? `${first}` : `${first}-${last}`;
}

/** The same ports in the fewest ranges, in order: those that overlap or touch become one. */
export function mergePortRanges(ranges: readonly PortRange[]): PortRange[] {
  const merged: PortRange[] = [];
  for (const range of ranges.toSorted((a, b) => a.first - b.first)) {
    const before = merged.at(-1);
    if (before === undefined || before.last + 1 < range.first) merged.push(range);
    else merged[merged.length - 1] = { first: before.first, last: Math.max(before.last, range.last) };
  }
  return merged;
}

/** Whether `port` lies in one of `ranges`. */
export function containsPort(ranges: readonly PortRange[], port: number): boolean {
  return ranges.some(({ first, last }) => first <= port && port <= last);
}
