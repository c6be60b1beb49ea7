/**
 * The flow that a policy module is asked about: a view of the arena's words, one object for all flows.
 *
 * @module
 */
import { AF_INET } from "../ffi/mod.ts";
import type { FlowFacts } from "../flow/mod.ts";
import { addressFromBytes } from "../net/mod.ts";
import { IPPROTO_TCP } from "./flow_ring.ts";
import type { PolicyTurn } from "./life_memory.ts";
import type { PolicyEndpoint, PolicyFlow } from "./policy_function.ts";

/** What is behind the view while it is valid. */
interface Asked {
  /** undefined: nothing is asked about. */
  words: Int32Array | undefined;
  network: number;
  clientAt: number;
  destinationAt: number;
  facts: FlowFacts | undefined;
}

/** Of no flow any more, or not yet. */
function over(): never {
  throw new Error("flow: asked after the policy has answered, wanted during the call");
}

class AskedEndpoint implements PolicyEndpoint {
  readonly #asked: Asked;
  readonly #isClient: boolean;

  constructor(asked: Asked, isClient: boolean) {
    this.#asked = asked;
    this.#isClient = isClient;
  }

  get family(): 4 | 6 {
    return this.#isV4(this.#words) ? 4 : 6;
  }

  get address(): string {
    const words = this.#words;
    if (!this.#isV4(words)) return addressFromBytes(this.bytes).text;
    const word = words[this.#at + 1]!;
    return `${word & 0xff}.${word >>> 8 & 0xff}.${word >>> 16 & 0xff}.${word >>> 24}`;
  }

  get bytes(): Uint8Array {
    const words = this.#words;
    const [first, length] = this.#isV4(words) ? [1, 4] : [2, 16];
    return new Uint8Array(words.buffer, words.byteOffset + 4 * (this.#at + first), length).slice();
  }

  get port(): number {
    // In the order of the network, behind the family.
    const word = this.#words[this.#at]!;
    return (word >>> 8 & 0xff00) | word >>> 24;
  }

  get #words(): Int32Array {
    return this.#asked.words ?? over();
  }

  get #at(): number {
    return this.#isClient ? this.#asked.clientAt : this.#asked.destinationAt;
  }

  #isV4(words: Int32Array): boolean {
    return (words[this.#at]! & 0xff) === AF_INET;
  }
}

/** One flow after the other. */
export class AskedFlow implements PolicyFlow {
  readonly client: PolicyEndpoint;
  readonly destination: PolicyEndpoint;
  readonly #asked: Asked = {
    words: undefined,
    network: 0,
    clientAt: 0,
    destinationAt: 0,
    facts: undefined,
  };
  readonly #turn: PolicyTurn;
  readonly #nameOf: (interfaceIndex: number) => string | undefined;

  /** @param nameOf names an interface. */
  constructor(turn: PolicyTurn, nameOf: (interfaceIndex: number) => string | undefined) {
    this.#turn = turn;
    this.#nameOf = nameOf;
    this.client = new AskedEndpoint(this.#asked, true);
    this.destination = new AskedEndpoint(this.#asked, false);
  }

  /** It is this flow from now on. */
  begin(network: number, words: Int32Array, clientAt: number, destinationAt: number, facts: FlowFacts): void {
    const asked = this.#asked;
    asked.words = words;
    asked.network = network;
    asked.clientAt = clientAt;
    asked.destinationAt = destinationAt;
    asked.facts = facts;
  }

  /** It is none from now on. */
  end(): void {
    this.#asked.words = undefined;
    this.#asked.facts = undefined;
  }

  get network(): "tcp" | "udp" {
    if (this.#asked.words === undefined) over();
    return this.#asked.network === IPPROTO_TCP ? "tcp" : "udp";
  }

  get interfaceIndex(): number {
    return this.#facts.interfaceIndex();
  }

  get interfaceName(): string | undefined {
    const index = this.#facts.interfaceIndex();
    return index === 0 ? undefined : this.#nameOf(index);
  }

  get dscp(): number {
    return this.#facts.dscp();
  }

  get uid(): number {
    return this.#facts.uid();
  }

  get #facts(): FlowFacts {
    const { facts } = this.#asked;
    // They use descriptors, which are another thread's once this one has been given up.
    this.#turn.check();
    return facts ?? over();
  }
}
