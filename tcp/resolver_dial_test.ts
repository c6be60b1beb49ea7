import { AF_INET, EAGAIN, ECONNRESET, SOCK_STREAM, type Socket } from "../ffi/mod.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { counterSlot } from "../dataplane/stats.ts";
import { assertEquals, assertGreaterOrEqual, assertLessOrEqual } from "../tests/assert.ts";
import { Loopback } from "../tests/loopback.ts";
import { DIALLED, Scene } from "../tests/tcp_scene.ts";

function listen(scene: { loopback: Loopback }): { socket: Socket; endpoint: Endpoint } {
  const socket = scene.loopback.listen();
  return { socket, endpoint: socket.localEndpoint() };
}

/** A port of loopback where nobody listens. */
function refusing(loopback: Loopback): Endpoint {
  const socket = loopback.listen();
  const endpoint = socket.localEndpoint();
  loopback.close(socket.fd);
  return endpoint;
}

/** A listener whose queue is full: SYNs to it are dropped without a word. */
function silent(loopback: Loopback): Endpoint {
  const socket = loopback.sockets.open(AF_INET, SOCK_STREAM);
  loopback.own(socket.fd);
  socket.bind(parseEndpoint("127.0.0.1:0")!);
  socket.listen(0);
  const endpoint = socket.localEndpoint();
  loopback.connect(endpoint.port);
  return endpoint;
}

Deno.test("resolver dial: the first resolver is dialled, and the record tells what the client had dialled", () => {
  using servers = new Loopback();
  const first = listen({ loopback: servers }), second = listen({ loopback: servers });
  using scene = new Scene({ resolvers: [first.endpoint, second.endpoint] });
  const client = scene.dial();
  scene.run(200);
  assertEquals([scene.heardBy(first.socket), scene.heardBy(second.socket)], ["query", undefined]);
  assertEquals(scene.receive(client), -EAGAIN);
  scene.loopback.close(client);
  // The far end, which heardBy has accepted, is closed with the scene: the relay ends by a shutdown.
  scene.listener.close();
  assertEquals(scene.flows.map(({ destination, bytesUp }) => [destination, bytesUp]), [[DIALLED, 5]]);
});

Deno.test("resolver dial: other ports go where they were going", () => {
  using servers = new Loopback();
  const resolver = listen({ loopback: servers }), server = listen({ loopback: servers });
  using scene = new Scene({
    resolvers: [resolver.endpoint],
    dialled: formatEndpoint(server.endpoint),
    source: "keep",
  });
  // --source keep would bind the client's address.
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(resolver.socket), undefined);
});

Deno.test("resolver dial: a resolver that refuses is skipped at once", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene({
    resolvers: [refusing(servers), refusing(servers), second.endpoint],
  });
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(second.socket), "query");
  assertEquals(scene.counters[counterSlot("tcpDialFailed")], 0);
});

Deno.test("resolver dial: a resolver that does not answer is skipped after two seconds", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene({ resolvers: [silent(servers), second.endpoint] });
  scene.dial();
  scene.run(1700);
  assertEquals(scene.heardBy(second.socket), undefined);
  scene.run(500);
  assertEquals(scene.heardBy(second.socket), "query");
  scene.listener.close();
  assertGreaterOrEqual(scene.flows[0]!.durationMs, 1900);
});

Deno.test("resolver dial: for ten seconds, others do not wait for a resolver that has failed", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  using scene = new Scene({ resolvers: [silent(servers), second.endpoint] });
  const dial = (): number => {
    const client = scene.dial();
    scene.run(100);
    return client;
  };
  dial();
  scene.jump(2);
  scene.run(100);
  assertEquals(scene.heardBy(second.socket), "query");
  dial();
  assertEquals(scene.heardBy(second.socket), "query");
  scene.jump(10);
  dial();
  assertEquals(scene.heardBy(second.socket), undefined);
  scene.jump(2);
  scene.run(100);
  assertEquals(scene.heardBy(second.socket), "query");
  // When the others fail too, it is the one that is left.
  servers.close(second.socket.fd);
  assertEquals(scene.receive(dial()), -EAGAIN);
});

Deno.test("resolver dial: when all refuse, the client is reset", () => {
  using servers = new Loopback();
  using scene = new Scene({ resolvers: [refusing(servers), refusing(servers)] });
  const client = scene.dial();
  scene.run(200);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals(scene.flows.map(({ destination, end }) => [destination, end.reason]), [[DIALLED, "refused"]]);
  assertEquals([scene.listener.open, scene.counters[counterSlot("tcpDialFailed")]], [0, 1]);
});

Deno.test("resolver dial: when none answers, the last has the ordinary time to connect", () => {
  using servers = new Loopback();
  using scene = new Scene({ resolvers: [silent(servers), silent(servers)] });
  const client = scene.dial();
  scene.run(3500);
  assertEquals(scene.receive(client), -ECONNRESET);
  assertEquals(scene.flows.map(({ end }) => end), [{ reason: "connect-timeout", side: "upstream" }]);
  assertLessOrEqual(scene.flows[0]!.durationMs, 3400);
});

Deno.test("resolver dial: one that cannot even be dialled is skipped, and when none can, the client is reset", () => {
  using servers = new Loopback();
  const second = listen({ loopback: servers });
  // Broadcast: connect answers ENETUNREACH for TCP.
  const impossible = parseEndpoint("255.255.255.255:53")!;
  using scene = new Scene({ resolvers: [impossible, second.endpoint] });
  scene.dial();
  scene.run(200);
  assertEquals(scene.heardBy(second.socket), "query");
  using hopeless = new Scene({ resolvers: [impossible, impossible] });
  const client = hopeless.dial();
  hopeless.run(200);
  assertEquals(hopeless.receive(client), -ECONNRESET);
  assertEquals(hopeless.flows.map(({ end }) => end.reason), ["unreachable"]);
});

Deno.test("resolver dial: a drain waits for it, and a worker that ends resets its client", () => {
  using servers = new Loopback();
  using scene = new Scene({ resolvers: [silent(servers), silent(servers)] });
  const client = scene.dial();
  scene.run(200);
  let idle = 0;
  scene.listener.drain(() => idle++);
  assertEquals([scene.listener.open, idle], [1, 0]);
  scene.run(3500);
  assertEquals([scene.listener.open, idle], [0, 1]);
  assertEquals(scene.receive(client), -ECONNRESET);
  using ending = new Scene({ resolvers: [silent(servers), silent(servers)] });
  const other = ending.dial();
  ending.run(200);
  ending.listener.close();
  assertEquals(ending.receive(other), -ECONNRESET);
  assertEquals(ending.flows.map(({ end }) => end.reason), ["shutdown"]);
});
