/**
 * Which bits of packet and connection marks a rule asks for and writes.
 *
 * @module
 */
import type { FirewallTool } from "./firewall.ts";

/** One use of a mark. */
export interface MarkUse {
  readonly does: "asks" | "writes";
  readonly of: "packet" | "flow";
  /** The bits that are asked for, or may be changed. */
  readonly bits: number;
  /** What they are asked for, or set to, as far as the rule says. */
  readonly value: number;
}

const ALL = 0xffffffff;

/** Every use in a rule's text. */
export function markUses(tool: FirewallTool, text: string): MarkUse[] {
  return tool === "nft" ? nftUses(text) : iptablesUses(text);
}

function use(does: MarkUse["does"], of: MarkUse["of"], bits: number, value: number): MarkUse {
  return { does, of, bits: bits >>> 0, value: value >>> 0 };
}

const NFT_WRITE =
  /\b(meta|ct) mark set (?:(meta|ct) mark(?: & (0x[0-9a-f]+))?(?: [|^] (0x[0-9a-f]+))?|(0x[0-9a-f]+)|[^,;]+)/g;
const NFT_ASK = /\b(meta|ct) mark(?: & (0x[0-9a-f]+))? (?:(?:==|!=) )?(0x[0-9a-f]+)/g;

function nftUses(text: string): MarkUse[] {
  const uses: MarkUse[] = [];
  const asked = text.replace(NFT_WRITE, (_whole, of, from, kept, added, fixed) => {
    uses.push(nftWrite(of, from, kept, added, fixed));
    return "";
  });
  for (const [, of, mask, value] of asked.matchAll(NFT_ASK)) {
    uses.push(use("asks", kindOf(of!), mask === undefined ? ALL : Number(mask), Number(value)));
  }
  return uses;
}

/** `meta mark set meta mark & KEPT | ADDED` changes what is not kept, and what is added. */
function nftWrite(of: string, from?: string, kept?: string, added?: string, fixed?: string): MarkUse {
  const value = Number(added ?? fixed ?? 0);
  if (from !== of) return use("writes", kindOf(of), ALL, value);
  return use("writes", kindOf(of), ~Number(kept ?? ALL) | value, value);
}

function kindOf(word: string): MarkUse["of"] {
  return word === "ct" ? "flow" : "packet";
}

const IPTABLES_WRITE = /--set-xmark (0x[0-9a-f]+)\/(0x[0-9a-f]+)/;
const IPTABLES_TPROXY = /--tproxy-mark (0x[0-9a-f]+)\/(0x[0-9a-f]+)/;
const IPTABLES_COPY = /--(restore|save)-mark(?: --nfmask (0x[0-9a-f]+) --ctmask (0x[0-9a-f]+))?/;
const IPTABLES_ASK = /-m (mark|connmark) (?:! )?--mark (0x[0-9a-f]+)(?:\/(0x[0-9a-f]+))?/g;

function iptablesUses(text: string): MarkUse[] {
  const uses: MarkUse[] = [];
  const target = /-[jg] (\S+)/.exec(text)?.[1];
  const set = IPTABLES_WRITE.exec(text) ?? IPTABLES_TPROXY.exec(text);
  if (set !== null) {
    const [, value, mask] = set;
    // What is under the mask is cleared, then the value's bits are turned over.
    uses.push(
      use("writes", target === "CONNMARK" ? "flow" : "packet", Number(mask) | Number(value), Number(value)),
    );
  }
  const copy = IPTABLES_COPY.exec(text);
  if (copy !== null) {
    const [, way, nfmask = "0xffffffff", ctmask = "0xffffffff"] = copy;
    const isRestore = way === "restore";
    uses.push(use("writes", isRestore ? "packet" : "flow", Number(isRestore ? nfmask : ctmask), 0));
  }
  for (const [, match, value, mask] of text.matchAll(IPTABLES_ASK)) {
    uses.push(use("asks", match === "mark" ? "packet" : "flow", Number(mask ?? ALL), Number(value)));
  }
  return uses;
}
