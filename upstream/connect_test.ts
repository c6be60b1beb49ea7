import {
  EADDRINUSE,
  ECONNREFUSED,
  IP_TOS,
  IPV6_TCLASS,
  SO_BINDTODEVICE,
  SO_MARK,
  sockaddrPort,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import { assert, assertEquals } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { sockaddrOf } from "../tests/upstream_world.ts";
import { connect, type ConnectOptions, TO_SERVER } from "./connect.ts";
import { UpstreamEnvironment } from "./environment.ts";

const BYPASS = 0x02000000;

function bytesAt(pointer: Deno.PointerValue, length: number): Uint8Array {
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer!, length)).slice();
}

/** What is asked of a kernel that lets nobody connect; options and addresses that take privilege, for anybody. */
class Recorder implements Disposable {
  readonly options = new Map<string, Uint8Array>();
  readonly boundPorts: number[] = [];
  readonly open = new Set<number>();
  readonly #loopback = new Loopback();
  readonly environment: UpstreamEnvironment;

  /** @param takenPort cannot be bound to. */
  constructor(takenPort = -1) {
    const { sys, arena } = this.#loopback;
    let fds = 1000;
    const recording: Syscalls = {
      ...sys,
      socket: () => {
        this.open.add(fds);
        return fds++;
      },
      close: (fd) => this.open.delete(fd) ? 0 : -9,
      setsockopt: (_fd, level, name, value, length) => {
        this.options.set(`${level}/${name}`, bytesAt(value, length));
        return 0;
      },
      bind: (_fd, address, length) => {
        const port = sockaddrPort(bytesAt(address, length));
        this.boundPorts.push(port);
        return port === takenPort ? -EADDRINUSE : 0;
      },
      connect: () => -ECONNREFUSED,
    };
    const reactor = this.#loopback.openReactor();
    this.environment = new UpstreamEnvironment({
      sys: recording,
      arena,
      reactor,
      mark: BYPASS,
      source: "own",
      worker: { index: 0, count: 1 },
      onMemberChange: () => {},
    });
  }

  connect(to: string, options: Partial<ConnectOptions> = {}): void {
    const result = connect(this.environment, sockaddrOf(to), { ...TO_SERVER, ...options }, 60_000).next(0);
    assert(result.done);
    assertEquals(result.value, { fd: -1, errno: ECONNREFUSED, dialled: false });
    assertEquals(this.open.size, 0);
  }

  word(level: number, name: number): number | undefined {
    const bytes = this.options.get(`${level}/${name}`);
    return bytes && new DataView(bytes.buffer).getInt32(0, true);
  }

  [Symbol.dispose](): void {
    this.#loopback[Symbol.dispose]();
  }
}

Deno.test("connect: every socket bears our mark, and others' bits beside it", () => {
  using recorder = new Recorder();
  recorder.connect("192.0.2.1:1080");
  assertEquals(recorder.word(SOL_SOCKET, SO_MARK), BYPASS);
  recorder.connect("192.0.2.1:1080", { mark: 0xff });
  assertEquals(recorder.word(SOL_SOCKET, SO_MARK), BYPASS | 0xff);
});

Deno.test("connect: interface and codepoint, of either family", () => {
  using recorder = new Recorder();
  recorder.connect("192.0.2.1:1080");
  assertEquals([recorder.word(SOL_IP, IP_TOS), recorder.options.has(`1/${SO_BINDTODEVICE}`)], [
    undefined,
    false,
  ]);
  recorder.connect("192.0.2.1:1080", { interface: "wan0", dscp: 46 });
  assertEquals(new TextDecoder().decode(recorder.options.get(`1/${SO_BINDTODEVICE}`)), "wan0");
  assertEquals([recorder.word(SOL_IP, IP_TOS), recorder.word(SOL_IPV6, IPV6_TCLASS)], [46 << 2, undefined]);
  recorder.connect("[2001:db8::1]:1080", { dscp: 10 });
  assertEquals(recorder.word(SOL_IPV6, IPV6_TCLASS), 10 << 2);
});

Deno.test("connect: the client's port is kept where it is free, its address always", () => {
  const keep = sockaddrOf("198.51.100.1:4000");
  using free = new Recorder();
  free.connect("192.0.2.1:1080", { keep });
  assertEquals(free.boundPorts, [4000]);
  using taken = new Recorder(4000);
  taken.connect("192.0.2.1:1080", { keep });
  assertEquals(taken.boundPorts, [4000, 0]);
  assertEquals(sockaddrPort(keep), 4000);
});
