/**
 * Classic BPF for `-m bpf --bytecode`: which of N workers a datagram's endpoint belongs to. iptables has no hash of
 * addresses and ports that a rule could ask for; a filter program may compute one.
 *
 * The program sees the packet from its IP header on. It hashes the source address and the UDP source port, so that
 * all that an endpoint sends has one worker, whoever it writes to. Nothing else may enter: the hash must not change
 * with a reload, or a client's address towards the world would.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";

/** One instruction: `struct sock_filter` of linux/filter.h. */
export interface BpfInstruction {
  readonly code: number;
  /** Instructions to skip when a comparison holds. */
  readonly jt: number;
  /** And when it does not. */
  readonly jf: number;
  /** Unsigned, 32 bits. */
  readonly k: number;
}

// linux/bpf_common.h: class, size or operation, mode or source, as the kernel writes them together.
const LD_W_ABS = 0x20;
const LD_H_ABS = 0x28;
const LD_B_ABS = 0x30;
const LD_H_IND = 0x48;
const LD_IMM = 0x00;
const LD_MEM = 0x60;
const LDX_MSH = 0xb1;
const ST = 0x02;
const MUL_K = 0x24;
const MOD_K = 0x94;
const RSH_K = 0x74;
const XOR_X = 0xac;
const JA = 0x05;
const JEQ_K = 0x15;
const RET_K = 0x06;
const TAX = 0x07;

/** Offsets in the headers: RFC 791, RFC 8200. */
const SOURCE_WORDS: Readonly<Record<IpFamily, readonly number[]>> = { 4: [12], 6: [8, 12, 16, 20] };
const V6_NEXT_HEADER = 6;
const V6_PAYLOAD = 40;
const UDP = 17;

/** Where the hash starts; any number does, as long as it stays. */
export const SPREAD_SEED = 0x70656c6c;
/** 2^32 divided by the golden ratio, odd: multiplying by it spreads the lower bits over the upper ones (Knuth). */
export const SPREAD_FACTOR = 0x9e3779b1;
/** Brings the upper bits, which multiplication mixes best, down to where the remainder is taken. */
export const SPREAD_SHIFT = 15;

/** Matches the packets of endpoints whose hash modulo `workers` is `worker`. */
export function spreadProgram(family: IpFamily, worker: number, workers: number): BpfInstruction[] {
  return [
    ...sourcePort(family),
    // The port waits in memory while the address is hashed.
    op(ST, 0),
    op(LD_IMM, SPREAD_SEED),
    ...SOURCE_WORDS[family].flatMap((offset) => mix(op(LD_W_ABS, offset))),
    ...mix(op(LD_MEM, 0)),
    op(MOD_K, workers),
    { code: JEQ_K, jt: 0, jf: 1, k: worker },
    op(RET_K, 0xffff),
    op(RET_K, 0),
  ];
}

/** Into the accumulator. An IPv6 packet with extension headers goes by its address alone: 0. */
function sourcePort(family: IpFamily): BpfInstruction[] {
  if (family === 4) return [op(LDX_MSH, 0), op(LD_H_IND, 0)];
  return [
    op(LD_B_ABS, V6_NEXT_HEADER),
    { code: JEQ_K, jt: 0, jf: 2, k: UDP },
    op(LD_H_ABS, V6_PAYLOAD),
    // Skips the load of 0.
    op(JA, 1),
    op(LD_IMM, 0),
  ];
}

/** hash = (hash ^ word) * factor; hash ^= hash >> shift. */
function mix(loadWord: BpfInstruction): BpfInstruction[] {
  return [
    op(TAX, 0),
    loadWord,
    op(XOR_X, 0),
    op(MUL_K, SPREAD_FACTOR),
    op(TAX, 0),
    op(RSH_K, SPREAD_SHIFT),
    op(XOR_X, 0),
  ];
}

function op(code: number, k: number): BpfInstruction {
  return { code, jt: 0, jf: 0, k };
}

/** As xt_bpf reads it: the number of instructions, then each one's `code jt jf k`. */
export function formatBytecode(program: readonly BpfInstruction[]): string {
  return [`${program.length}`, ...program.map(({ code, jt, jf, k }) => `${code} ${jt} ${jf} ${k}`)].join(",");
}
