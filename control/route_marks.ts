/**
 * Marks of `direct` upstreams beside ours: the kernel's rules know our own packets, and those that they have taken, by
 * some of the same bits.
 *
 * @module
 */
import type { ConfigIssue, UpstreamConfig } from "../config/mod.ts";
import { DEFAULT_KERNEL_NUMBERS } from "../nft/intent.ts";

const { mask, dontFragment, fromHere } = DEFAULT_KERNEL_NUMBERS.marks;
const OURS = (mask | dontFragment | fromHere) >>> 0;

/** Marks that would make the rules take a packet for another than it is. */
export function* checkRouteMarks(upstreams: readonly UpstreamConfig[]): Generator<ConfigIssue> {
  for (const upstream of upstreams) {
    if (upstream.kind !== "direct") continue;
    const shared = (upstream.mark & OURS) >>> 0;
    // One below 0 is no mark at all, and told as that.
    if (shared === 0 || upstream.mark < 0) continue;
    yield {
      path: `upstream.${upstream.name}.mark`,
      found: `${hex(upstream.mark)}, with ${hex(shared)} of ours`,
      wanted: `bits outside ${hex(OURS)}, by which our rules know our packets`,
    };
  }
}

function hex(mark: number): string {
  return `0x${mark.toString(16)}`;
}
