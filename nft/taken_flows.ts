/**
 * What conntrack keeps of UDP flows that were taken. Such an entry says "no address translation", and a client that
 * goes on sending keeps it alive: on a host that masquerades, its datagrams would leave with the client's private
 * address for as long as it tries. So when the rules have gone, these entries go as well.
 *
 * nft cannot remove entries; conntrack(8) can, where it is installed. Where it is not, they end 30 s after the
 * client's last datagram (nf_conntrack_udp_timeout).
 *
 * @module
 */
import type { Exec } from "./exec.ts";
import type { Marks } from "./intent.ts";

/** A table of millions takes longer to walk; then the rest ends by itself rather than hold up a stop. */
const TIMEOUT_MS = 2_000;

/** Makes conntrack forget the flows that carry our mark; call it when nothing sets that mark any more. */
export async function forgetTakenFlows(marks: Marks, exec: Exec): Promise<void> {
  const mark = `0x${marks.intercept.toString(16)}/0x${marks.mask.toString(16)}`;
  // Its exit code tells "none found" and "not permitted" not apart, and nothing depends on it.
  await Promise.all(
    ["ipv4", "ipv6"].map((family) =>
      exec.run(["conntrack", "-D", "-f", family, "-p", "udp", "-m", mark], { timeoutMs: TIMEOUT_MS })
    ),
  );
}
