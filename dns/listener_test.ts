import {
  AF_INET,
  AF_INET6,
  archOf,
  Arena,
  encodeSockaddr,
  openSyscalls,
  Reactor,
  SOCK_DGRAM,
  sockaddrPort,
  type Socket,
  SocketFactory,
  Timer,
} from "../ffi/mod.ts";
import type { DatagramService } from "../flow/mod.ts";
import { parseAddress } from "../net/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { DNS_LISTENER_BYTES, DnsListener } from "./listener.ts";
import type { DnsCounterName } from "./settings.ts";

/** More than one turn takes: rounds of a batch each. */
const FLOOD = 300;

class Stop extends Timer {
  constructor(readonly reactor: Reactor) {
    super();
  }
  override onTimer(): void {
    this.reactor.stop();
  }
}

/** A listener, and a service that answers each query with its own bytes. */
class Scene implements Disposable, DatagramService {
  readonly arena = new Arena(DNS_LISTENER_BYTES + 64 * 1024);
  readonly sys = openSyscalls();
  readonly reactor = new Reactor(this.sys, this.arena, archOf());
  readonly sockets = new SocketFactory(this.sys, this.arena);
  readonly counters = new Float64Array(1);
  readonly warnings: string[] = [];
  readonly asked: number[] = [];
  readonly listener: DnsListener;
  readonly port: number;
  pending = 0;
  readonly #buffer = this.arena.allocate(4096);
  readonly #clients: Socket[] = [];

  constructor() {
    // A port that is free in both families.
    using probe = this.sockets.open(AF_INET6, SOCK_DGRAM);
    probe.bind({ address: parseAddress("::")!, port: 0 });
    this.port = probe.localEndpoint().port;
    probe[Symbol.dispose]();
    this.listener = new DnsListener({
      sys: this.sys,
      arena: this.arena,
      reactor: this.reactor,
      settings: { port: this.port, bypassMark: 0 },
      counters: { values: this.counters, slots: { dnsMalformed: 0 } as Record<DnsCounterName, number> },
      onWarning: (warning, detail) => this.warnings.push(`${warning}: ${detail}`),
    });
    this.listener.serve(this);
  }

  onDatagram(client: Uint8Array, dialled: Uint8Array, payloadOffset: number, length: number): void {
    this.asked.push(sockaddrPort(client));
    this.listener.reply(client, dialled, payloadOffset, length);
  }

  /** A socket that takes datagrams from nowhere but `address` and the listener's port. */
  client(address: string): Socket {
    const parsed = parseAddress(address)!;
    const client = this.sockets.open(parsed.family === 4 ? AF_INET : AF_INET6, SOCK_DGRAM);
    this.#clients.push(client);
    client.bind({ address: parseAddress(parsed.family === 4 ? "127.0.0.1" : "::1")!, port: 0 });
    const length = encodeSockaddr({ address: parsed, port: this.port }, this.#buffer.bytes);
    assertEquals(this.sys.connect(client.fd, this.#buffer.pointer, length), 0);
    return client;
  }

  send(client: Socket, text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#buffer.bytes.set(bytes);
    assertEquals(this.sys.send(client.fd, this.#buffer.pointer, bytes.length, 0), bytes.length);
  }

  /** What has come, as text; undefined: nothing. */
  receive(client: Socket): string | undefined {
    const length = this.sys.recv(client.fd, this.#buffer.pointer, 4096, 0);
    return length < 0 ? undefined : new TextDecoder().decode(this.#buffer.bytes.slice(0, length));
  }

  run(): void {
    this.reactor.timers.schedule(new Stop(this.reactor), 20);
    this.reactor.run();
  }

  [Symbol.dispose](): void {
    for (const client of this.#clients) client[Symbol.dispose]();
    this.listener.close();
    this.reactor.close();
  }
}

Deno.test("dns listener: each answer comes from the address at which the query arrived", () => {
  using scene = new Scene();
  const clients = ["127.0.0.1", "127.0.0.2", ...(scene.listener.dualStack ? ["::1"] : [])].map((address) => ({
    address,
    socket: scene.client(address),
  }));
  for (const { address, socket } of clients) scene.send(socket, `to ${address}`);
  scene.run();
  for (const { address, socket } of clients) assertEquals(scene.receive(socket), `to ${address}`);
  assertEquals([scene.counters[0], scene.warnings], [0, []]);
});

Deno.test("dns listener: more queries than one turn takes are all answered", () => {
  using scene = new Scene();
  const client = scene.client("127.0.0.1");
  for (let i = 0; i < FLOOD; i++) scene.send(client, `${i}`);
  scene.run();
  const received = new Set<string>();
  for (let text = scene.receive(client); text !== undefined; text = scene.receive(client)) received.add(text);
  // The client's own buffer is the bound, not the listener.
  assertEquals(scene.asked.length, FLOOD);
  assert(received.size > 0);
});

Deno.test("dns listener: a drain waits for answers, and close ends it", () => {
  using scene = new Scene();
  scene.pending = 1;
  let idle = 0;
  scene.listener.drain(() => idle++);
  scene.run();
  assertEquals(idle, 0);
  scene.pending = 0;
  scene.reactor.timers.schedule(new Stop(scene.reactor), 500);
  scene.reactor.run();
  assertEquals(idle, 1);
  scene.listener.close();
  // Nobody listens: an answer that comes late goes nowhere, and is no fault.
  const late = new Uint8Array(28);
  late.set([AF_INET, 0, 0, 9, 127, 0, 0, 1]);
  scene.listener.reply(late, late, 0, 4);
  assertEquals(scene.warnings, []);
});
