/**
 * A kernel that fails on purpose: the system calls that the relay uses, over simulated sockets, pipes, epoll and
 * clock, which return short counts and errors where a test wants them.
 *
 * Memory is real: what the program under test passes are true addresses, and what is read through them are the
 * bytes that a kernel would have seen. A use that a kernel would punish later and elsewhere, such as closing a
 * descriptor twice, throws at once.
 *
 * @module
 */
import {
  type Arch,
  EAGAIN,
  EMFILE,
  EPERM,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLLERR,
  EPOLLHUP,
  F_GETPIPE_SZ,
  F_SETPIPE_SZ,
  MSG_PEEK,
  MSG_TRUNC,
  SIOCOUTQ,
  SO_ERROR,
  SO_LINGER,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import { FakeSocket } from "./fake_socket.ts";

type Pointer = Deno.PointerValue;

/** pipe(7): a pipe counts pages, and each may hold less than a page, or, from a socket, more. */
const PIPE_SLOTS = 16;
const PAGE_BYTES = 4096;

/** Both ends of one pipe: the pieces in its slots. */
class FakePipe {
  readonly slots: Uint8Array[] = [];
  /** @param capacity pages. */
  constructor(public capacity: number) {}

  get freeSlots(): number {
    return this.capacity - this.slots.length;
  }
}

interface PipeEnd {
  readonly pipe: FakePipe;
  readonly writes: boolean;
}

interface Watch {
  readonly events: number;
  /** The 64 bits of the event's data. */
  readonly data: readonly [number, number];
}

class FakeEpoll {
  readonly watched = new Map<number, Watch>();
  /** Woken since their last event was fetched; in order. */
  readonly ready = new Set<number>();
}

/** The calls that are simulated; any other throws. */
export class FakeKernel implements Syscalls {
  readonly #arch: Arch;
  readonly #open = new Map<number, FakeSocket | PipeEnd | FakeEpoll>();
  readonly #epoll = new FakeEpoll();
  nowMs = 1_000_000;
  /** What new pipes can hold: 8192 is what an unprivileged user gets who has many. */
  pipeBytes = PIPE_SLOTS * PAGE_BYTES;
  /** What a pipe may be enlarged to: fs.pipe-max-size, or less for a user who has many. */
  largestPipeBytes = 1024 * 1024;
  /** Whether pipe2 answers EMFILE. */
  outOfDescriptors = false;
  /** The next data calls move so many bytes at most; 0: EAGAIN although there would be some. Then no limit. */
  limits: number[] = [];
  /** Bytes that one slot of a pipe takes from a socket. */
  fragmentBytes = PAGE_BYTES;
  /** Called before each call that moves data: the world does not stand still meanwhile. */
  beforeTransfer: () => void = () => {};
  /** Called when epoll_wait finds nothing: makes something happen, or the time pass. */
  onIdle: (timeoutMs: number) => void = () => {};
  /** Calls so far: a loop without end shows. */
  calls = 0;
  callLimit = 1_000_000;

  constructor(arch: Arch) {
    this.#arch = arch;
  }

  /** Gives a socket the lowest free descriptor. */
  install(file: FakeSocket | PipeEnd | FakeEpoll): number {
    let fd = 3;
    while (this.#open.has(fd)) fd++;
    this.#open.set(fd, file);
    if (file instanceof FakeSocket) file.onWake = () => this.wake(fd);
    return fd;
  }

  /** Puts a watched descriptor on epoll's list, for no reason if need be. */
  wake(fd: number): void {
    if (this.#epoll.watched.has(fd)) this.#epoll.ready.add(fd);
  }

  get openDescriptors(): number {
    return this.#open.size;
  }

  /** Whether epoll has an event to fetch. */
  get hasReady(): boolean {
    return this.#epoll.ready.size > 0;
  }

  /** Bytes in all pipes. */
  get bytesInPipes(): number {
    let bytes = 0;
    for (const file of this.#open.values()) {
      if ("pipe" in file && file.writes) bytes += file.pipe.slots.reduce((sum, slot) => sum + slot.length, 0);
    }
    return bytes;
  }

  // --- sockets ---------------------------------------------------------------------------------------------------

  recv(fd: number, buffer: Pointer, length: number, flags: number): number {
    this.beforeTransfer();
    const socket = this.#socket(fd);
    // What has been peeked at is there, and can be dropped in one piece.
    const isDrop = (flags & MSG_TRUNC) !== 0;
    // A short count with bytes left behind: those arrived just after, and woke epoll.
    const limit = isDrop ? length : this.#nextLimit(Math.min(length, socket.readable), () => this.wake(fd));
    if (limit === 0 && socket.readable > 0) return -EAGAIN;
    const got = socket.receive(Math.max(1, limit), (flags & MSG_PEEK) !== 0);
    if (typeof got === "number") return got;
    if (buffer === null) {
      if (!isDrop) throw new Error("recv: a null pointer without MSG_TRUNC");
    } else memoryAt(buffer, got.length).set(got);
    return got.length;
  }

  send(fd: number, buffer: Pointer, length: number): number {
    this.beforeTransfer();
    const socket = this.#socket(fd);
    const room = socket.room();
    if (room < 0) return room;
    const limit = this.#nextLimit(Math.min(length, room), () => this.wake(fd));
    if (limit === 0) return -EAGAIN;
    socket.give(memoryAt(buffer, limit).slice(), length);
    return limit;
  }

  shutdown(fd: number): number {
    this.#count();
    return this.#socket(fd).shutdown();
  }

  getsockopt(fd: number, _level: number, name: number, value: Pointer): number {
    this.#count();
    if (name !== SO_ERROR) return notSimulated("getsockopt");
    new Int32Array(memoryAt(value, 4).buffer)[0] = this.#socket(fd).takeError();
    return 0;
  }

  setsockopt(fd: number, level: number, name: number, value: Pointer): number {
    this.#count();
    const socket = this.#socket(fd);
    if (level === SOL_SOCKET && name === SO_LINGER) {
      const [on, seconds] = new Int32Array(memoryAt(value, 8).buffer);
      socket.lingerZero = on !== 0 && seconds === 0;
    } else socket.options.set(`${level}/${name}`, new Int32Array(memoryAt(value, 4).buffer)[0]!);
    return 0;
  }

  ioctl(fd: number, request: number, argument: Pointer): number {
    this.#count();
    if (request !== SIOCOUTQ) return notSimulated("ioctl");
    new Int32Array(memoryAt(argument, 4).buffer)[0] = this.#socket(fd).queued;
    return 0;
  }

  getsockname(_fd: number, address: Pointer): number {
    memoryAt(address, 16).set([2, 0, 0x12, 0x34, 192, 0, 2, 1]);
    return 0;
  }

  // --- pipes -----------------------------------------------------------------------------------------------------

  pipe2(fds: Pointer): number {
    this.#count();
    if (this.outOfDescriptors) return -EMFILE;
    const pipe = new FakePipe(this.pipeBytes / PAGE_BYTES);
    const ends = [this.install({ pipe, writes: false }), this.install({ pipe, writes: true })];
    new Int32Array(memoryAt(fds, 8).buffer).set(ends);
    return 0;
  }

  fcntl(fd: number, command: number, argument: number): number {
    this.#count();
    const pipe = this.#pipeEnd(fd, true);
    if (command === F_SETPIPE_SZ) {
      if (argument > this.largestPipeBytes) return -EPERM;
      pipe.capacity = argument / PAGE_BYTES;
    } else if (command !== F_GETPIPE_SZ) return notSimulated("fcntl");
    return pipe.capacity * PAGE_BYTES;
  }

  write(fd: number, buffer: Pointer, length: number): number {
    this.#count();
    const { slots, freeSlots } = this.#pipeEnd(fd, true);
    const bytes = memoryAt(buffer, Math.min(length, freeSlots * PAGE_BYTES)).slice();
    if (bytes.length === 0) return -EAGAIN;
    for (let at = 0; at < bytes.length; at += PAGE_BYTES) slots.push(bytes.slice(at, at + PAGE_BYTES));
    return bytes.length;
  }

  splice(from: number, to: number, length: number): number {
    this.beforeTransfer();
    return this.#open.get(from) instanceof FakeSocket
      ? this.#spliceIn(from, to, length)
      : this.#spliceOut(from, to, length);
  }

  #spliceIn(from: number, to: number, length: number): number {
    const socket = this.#socket(from);
    const { slots, freeSlots } = this.#pipeEnd(to, true);
    const room = Math.min(length, freeSlots * this.fragmentBytes);
    if (room === 0) return -EAGAIN;
    const limit = this.#nextLimit(Math.min(room, socket.readable), () => this.wake(from));
    if (limit === 0 && socket.readable > 0) return -EAGAIN;
    const bytes = socket.receive(Math.max(1, limit), false);
    if (typeof bytes === "number") return bytes;
    for (let at = 0; at < bytes.length; at += this.fragmentBytes) {
      slots.push(bytes.slice(at, at + this.fragmentBytes));
    }
    return bytes.length;
  }

  #spliceOut(from: number, to: number, length: number): number {
    const pipe = this.#pipeEnd(from, false);
    const socket = this.#socket(to);
    if (pipe.slots.length === 0) return -EAGAIN;
    const room = socket.room();
    if (room < 0) return room;
    const limit = this.#nextLimit(Math.min(length, room), () => this.wake(to));
    if (limit === 0) return -EAGAIN;
    let moved = 0;
    while (moved < limit && pipe.slots.length > 0) {
      const slot = pipe.slots[0]!;
      const part = slot.subarray(0, limit - moved);
      socket.give(part, length - moved);
      moved += part.length;
      if (part.length === slot.length) pipe.slots.shift();
      else pipe.slots[0] = slot.subarray(part.length);
    }
    return moved;
  }

  // --- epoll and clock -------------------------------------------------------------------------------------------

  epoll_create1(): number {
    return this.install(this.#epoll);
  }

  epoll_ctl(_epoll: number, operation: number, fd: number, event: Pointer): number {
    this.#count();
    const socket = this.#socket(fd);
    if (operation === EPOLL_CTL_DEL) this.#unwatch(fd);
    else if (operation !== EPOLL_CTL_ADD) return notSimulated("epoll_ctl");
    else {
      if (this.#epoll.watched.has(fd)) throw new Error(`epoll_ctl: ${fd} is watched already`);
      const words = new Int32Array(memoryAt(event, 4 * this.#arch.epollEventWords).buffer);
      const at = this.#arch.epollDataWord;
      this.#epoll.watched.set(fd, { events: words[0]!, data: [words[at]!, words[at + 1]!] });
      if (socket.poll() !== 0) this.#epoll.ready.add(fd);
    }
    return 0;
  }

  epoll_wait(_epoll: number, events: Pointer, maxEvents: number, timeoutMs: number): number {
    this.#count();
    if (this.#epoll.ready.size === 0 && timeoutMs !== 0) this.onIdle(timeoutMs);
    const eventWords = this.#arch.epollEventWords;
    const words = new Int32Array(memoryAt(events, 4 * eventWords * maxEvents).buffer);
    let count = 0;
    for (const fd of [...this.#epoll.ready].slice(0, maxEvents)) {
      this.#epoll.ready.delete(fd);
      const watch = this.#epoll.watched.get(fd)!;
      const socket = this.#socket(fd);
      const found = socket.poll() & (watch.events | EPOLLERR | EPOLLHUP);
      if (found === 0) continue;
      socket.eventMs = this.nowMs;
      words[count * eventWords] = found;
      words.set(watch.data, count * eventWords + this.#arch.epollDataWord);
      count++;
    }
    return count;
  }

  clock_gettime(_clock: number, time: Pointer): number {
    const seconds = Math.floor(this.nowMs / 1000);
    new Int32Array(memoryAt(time, 16).buffer).set([seconds, 0, (this.nowMs - seconds * 1000) * 1e6, 0]);
    return 0;
  }

  // --- descriptors -----------------------------------------------------------------------------------------------

  close(fd: number): number {
    this.#count();
    const file = this.#open.get(fd);
    if (file === undefined) throw new Error(`close: ${fd} is not open`);
    this.#unwatch(fd);
    this.#open.delete(fd);
    if (file instanceof FakeSocket) {
      file.close();
      file.onWake = () => {};
    }
    return 0;
  }

  #unwatch(fd: number): void {
    this.#epoll.watched.delete(fd);
    this.#epoll.ready.delete(fd);
  }

  #socket(fd: number): FakeSocket {
    const file = this.#open.get(fd);
    if (file instanceof FakeSocket) return file;
    throw new Error(`descriptor ${fd}: ${file === undefined ? "closed" : "no socket"}, a socket wanted`);
  }

  #pipeEnd(fd: number, writes: boolean): FakePipe {
    const file = this.#open.get(fd);
    if (file !== undefined && "pipe" in file && file.writes === writes) return file.pipe;
    throw new Error(`descriptor ${fd}: the ${writes ? "write" : "read"} end of a pipe wanted`);
  }

  /** How much this call moves of the `length` it could; when it is less, somebody must hear of the rest. */
  #nextLimit(length: number, wakeLater: () => void): number {
    this.#count();
    const limit = Math.min(length, this.limits.shift() ?? Infinity);
    if (limit < length) wakeLater();
    return limit;
  }

  #count(): void {
    if (++this.calls > this.callLimit) throw new Error(`${this.callLimit} system calls: a loop without end`);
  }

  // --- not simulated ---------------------------------------------------------------------------------------------

  socket = (): number => notSimulated("socket");
  bind = (): number => notSimulated("bind");
  listen = (): number => notSimulated("listen");
  accept4 = (): number => notSimulated("accept4");
  connect = (): number => notSimulated("connect");
  recvmsg = (): number => notSimulated("recvmsg");
  sendmsg = (): number => notSimulated("sendmsg");
  recvmmsg = (): number => notSimulated("recvmmsg");
  sendmmsg = (): number => notSimulated("sendmmsg");
  read = (): number => notSimulated("read");
  open = (): number => notSimulated("open");
  getrlimit = (): number => notSimulated("getrlimit");
  setrlimit = (): number => notSimulated("setrlimit");
  setfsuid = (): number => notSimulated("setfsuid");
  setfsgid = (): number => notSimulated("setfsgid");
}

function notSimulated(name: string): never {
  throw new Error(`${name}: not simulated`);
}

/** The program's memory at an address. */
function memoryAt(pointer: Pointer, length: number): Uint8Array {
  if (pointer === null) throw new Error("EFAULT: a null pointer");
  return new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(pointer, length));
}
