import { assert, assertEquals } from "../tests/assert.ts";
import { addressBytes, type IpFamily, parseAddress } from "../net/address.ts";
import {
  type BpfInstruction,
  formatBytecode,
  SPREAD_FACTOR,
  SPREAD_SEED,
  SPREAD_SHIFT,
  spreadProgram,
} from "./iptables_bpf.ts";

/** What the kernel would return, for the instructions that the programs use (net/core/filter.c). */
function interpret(program: readonly BpfInstruction[], packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength);
  const memory = new Uint32Array(16);
  let a = 0, x = 0;
  for (let pc = 0; pc < program.length; pc++) {
    const { code, jt, jf, k } = program[pc]!;
    try {
      switch (code) {
        case 0x20:
          a = view.getUint32(k);
          break;
        case 0x28:
          a = view.getUint16(k);
          break;
        case 0x30:
          a = view.getUint8(k);
          break;
        case 0x48:
          a = view.getUint16(x + k);
          break;
        case 0x00:
          a = k;
          break;
        case 0x60:
          a = memory[k]!;
          break;
        case 0xb1:
          x = 4 * (view.getUint8(k) & 0xf);
          break;
        case 0x02:
          memory[k] = a;
          break;
        case 0x24:
          a = Math.imul(a, k) >>> 0;
          break;
        case 0x94:
          a = a % k;
          break;
        case 0x74:
          a = a >>> k;
          break;
        case 0xac:
          a = (a ^ x) >>> 0;
          break;
        case 0x05:
          pc += k;
          break;
        case 0x15:
          pc += a === k ? jt : jf;
          break;
        case 0x06:
          return k;
        case 0x07:
          x = a;
          break;
        default:
          throw new TypeError(`instruction ${code}`);
      }
    } catch (error) {
      // A load beyond the packet's end ends the program with 0.
      if (error instanceof RangeError) return 0;
      throw error;
    }
  }
  throw new TypeError("no return");
}

/** The same hash, written down as what it is. */
function workerOf(source: string, port: number, workers: number): number {
  const view = new DataView(addressBytes(parseAddress(source)!).buffer);
  let hash = SPREAD_SEED;
  const mix = (word: number) => {
    hash = Number((BigInt((hash ^ word) >>> 0) * BigInt(SPREAD_FACTOR)) & 0xffff_ffffn);
    hash = (hash ^ (hash >>> SPREAD_SHIFT)) >>> 0;
  };
  for (let i = 0; i < view.byteLength; i += 4) mix(view.getUint32(i));
  mix(port);
  return hash % workers;
}

interface Options {
  /** 32-bit words of IPv4 options. */
  readonly optionWords?: number;
  readonly nextHeader?: number;
}

function datagram(source: string, port: number, options: Options = {}): Uint8Array {
  const address = addressBytes(parseAddress(source)!);
  const isV4 = address.length === 4;
  const header = isV4 ? 20 + 4 * (options.optionWords ?? 0) : 40;
  const packet = new Uint8Array(header + 8);
  packet[0] = isV4 ? 0x40 + header / 4 : 0x60;
  packet[isV4 ? 9 : 6] = options.nextHeader ?? 17;
  packet.set(address, isV4 ? 12 : 8);
  new DataView(packet.buffer).setUint16(header, port);
  return packet;
}

/** The workers whose program matches. */
function matching(family: IpFamily, packet: Uint8Array, workers: number): number[] {
  return Array.from({ length: workers }, (_, i) => i)
    .filter((i) => interpret(spreadProgram(family, i, workers), packet) !== 0);
}

function* endpoints(family: IpFamily, count: number): Generator<[string, number]> {
  for (let i = 0; i < count; i++) {
    const host = 1 + (i * 7) % 250;
    const address = family === 4 ? `198.18.${i % 4}.${host}` : `2001:db8:${i % 5}::${host.toString(16)}`;
    yield [address, 1024 + (i * 101) % 60_000];
  }
}

Deno.test("spread by BPF: exactly one worker, the one of the hash, for both families", () => {
  for (const family of [4, 6] as const) {
    for (const workers of [2, 3, 8]) {
      for (const [source, port] of endpoints(family, 300)) {
        assertEquals(matching(family, datagram(source, port), workers), [workerOf(source, port, workers)]);
      }
    }
  }
});

Deno.test("spread by BPF: IPv4 options do not hide the port", () => {
  for (const [source, port] of endpoints(4, 50)) {
    const packet = datagram(source, port, { optionWords: 3 });
    assertEquals(matching(4, packet, 5), [workerOf(source, port, 5)]);
  }
});

Deno.test("spread by BPF: an IPv6 packet with extension headers goes by its address", () => {
  for (const [source, port] of endpoints(6, 50)) {
    assertEquals(matching(6, datagram(source, port, { nextHeader: 60 }), 5), [workerOf(source, 0, 5)]);
  }
});

Deno.test("spread by BPF: a packet that is too short is nobody's", () => {
  assertEquals(matching(4, datagram("198.18.0.1", 5).subarray(0, 20), 4), []);
  assertEquals(matching(6, datagram("2001:db8::1", 5).subarray(0, 40), 4), []);
});

Deno.test("spread by BPF: ports of one address, and addresses with one port, are spread evenly", () => {
  const spread = (sources: Iterable<[string, number]>, workers: number) => {
    const counts = Array.from({ length: workers }, () => 0);
    let total = 0;
    for (const [source, port] of sources) {
      const worker = workerOf(source, port, workers);
      counts[worker] = counts[worker]! + 1;
      total++;
    }
    for (const count of counts) {
      assert(Math.abs(count - total / workers) < 0.1 * total / workers, `${counts} of ${total}`);
    }
  };
  function* ports(source: string): Generator<[string, number]> {
    for (let port = 32_768; port < 61_000; port++) yield [source, port];
  }
  function* addresses(prefix: string, hex: boolean): Generator<[string, number]> {
    for (let i = 0; i < 20_000; i++) {
      const [high, low] = [i >> 8, i & 255];
      yield [hex ? `${prefix}${high.toString(16)}:${low.toString(16)}` : `${prefix}${high}.${low}`, 53];
    }
  }
  for (const workers of [2, 3, 4, 7, 8]) {
    spread(ports("192.0.2.2"), workers);
    spread(ports("2001:db8:1::2"), workers);
    spread(addresses("198.18.", false), workers);
    spread(addresses("2001:db8::", true), workers);
  }
});

Deno.test("spread by BPF: fits into what xt_bpf takes", () => {
  for (const family of [4, 6] as const) {
    const program = spreadProgram(family, 255, 256);
    assert(program.length <= 64, `${program.length}`);
    const words = formatBytecode(program).split(",");
    assertEquals(words.length, program.length + 1);
    assertEquals(words[0], `${program.length}`);
    assert(words.slice(1).every((word) => /^\d+ \d+ \d+ \d+$/.test(word)));
  }
});
