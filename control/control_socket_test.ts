import { assert, assertEquals, assertRejects, assertStringIncludes } from "../tests/assert.ts";
import { askReload } from "./ask_reload.ts";
import { ControlSocket } from "./control_socket.ts";
import { isSafeFolder, portOfSocket, socketFolders, socketName } from "./control_socket_path.ts";
import type { ReloadOutcome } from "./reload.ts";
import { StartError } from "./start_error.ts";

async function inFolder(test: (path: string) => Promise<void>): Promise<void> {
  const path = await Deno.makeTempDir({ prefix: "pellucid-socket-" });
  try {
    await test(path);
  } finally {
    await Deno.remove(path, { recursive: true });
  }
}

const plain = (path: string) => [{ path, isShared: false, isOurs: false }];

Deno.test("control socket: who asks hears the outcome, whole", () =>
  inFolder(async (path) => {
    const issues = Array.from({ length: 5000 }, (_, i) => `issue ${i}: é`);
    const outcomes: ReloadOutcome[] = [{ kind: "reloaded", changes: ["one"] }, { kind: "failed", issues }];
    let asked = 0;
    using socket = await ControlSocket.open(7, () => Promise.resolve(outcomes[asked++]!), plain(path));
    assertEquals([socket.path, Deno.statSync(socket.path).mode! & 0o777], [
      `${path}/${socketName(7)}`,
      0o600,
    ]);
    for (const outcome of outcomes) {
      assertEquals(await askReload({ port: undefined, socket: socket.path }), outcome);
    }
    // What is no request asks for nothing.
    for (const nonsense of ["", "\n", "null\n", '{"request":"stop"}\n', "x".repeat(1024)]) {
      using connection = await Deno.connect({ transport: "unix", path: socket.path });
      await connection.write(new TextEncoder().encode(nonsense));
      await connection.closeWrite();
      const answer = await new Response(connection.readable).text();
      assertStringIncludes(answer, "unknown request");
    }
    assertEquals(asked, 2);
  }));

Deno.test("control socket: gone with the proxy, and what a killed one left is replaced", () =>
  inFolder(async (path) => {
    const answer = () => Promise.resolve({ kind: "reloaded", changes: [] } as const);
    const first = await ControlSocket.open(7, answer, plain(path));
    await assertRejects(() => ControlSocket.open(7, answer, plain(path)), Error, "another proxy");
    // It is still heard.
    assertEquals((await askReload({ port: undefined, socket: first.path })).kind, "reloaded");
    first[Symbol.dispose]();
    assertEquals([...Deno.readDirSync(path)], []);
    await assertRejects(() => askReload({ port: undefined, socket: first.path }), StartError, "No such file");

    const killed =
      `const l = Deno.listen({ transport: "unix", path: Deno.args[0] }); Deno.kill(Deno.pid, "SIGKILL"); l.close();`;
    const names = [socketName(7), socketName(8)];
    for (const name of names) {
      const script = await Deno.makeTempFile({ dir: path, suffix: ".ts" });
      await Deno.writeTextFile(script, killed);
      await new Deno.Command(Deno.execPath(), { args: ["run", "-A", script, `${path}/${name}`] }).output();
      await Deno.remove(script);
    }
    await Deno.utime(`${path}/${names[1]}`, 1, 1);
    assertEquals([...Deno.readDirSync(path)].length, 2);
    using _socket = await ControlSocket.open(7, answer, plain(path));
    // The other one was old, and nobody listened there either.
    assertEquals([...Deno.readDirSync(path)].map(({ name }) => name), [names[0]!]);
  }));

Deno.test("control socket: whoever asks while no descriptor is free is heard later", () =>
  inFolder(async (path) => {
    // In a process of its own: the others' files would be missing in this one.
    const script = `
      // The runtime cannot do without the descriptors that it hears signals by.
      const heard = () => {};
      Deno.addSignalListener("SIGUSR2", heard);
      const { ControlSocket } = await import(Deno.args[0]);
      const answer = () => Promise.resolve({ kind: "reloaded", changes: [] });
      const socket = await ControlSocket.open(7, answer, [{ path: Deno.args[1], isShared: false, isOurs: false }]);
      const files = [];
      const fill = () => { try { for (;;) files.push(Deno.openSync("/dev/null")); } catch { /* All are taken. */ } };
      fill();
      files.pop().close();
      const connection = await Deno.connect({ transport: "unix", path: socket.path });
      await connection.write(new TextEncoder().encode('{"request":"reload"}\\n'));
      fill();
      await new Promise((resolve) => setTimeout(resolve, 600));
      for (const file of files) file.close();
      console.log(await new Response(connection.readable).text());
      Deno.removeSignalListener("SIGUSR2", heard);
      Deno.removeSync(socket.path);
      socket[Symbol.dispose]();
      socket[Symbol.dispose]();
    `;
    const main = `${path}/main.ts`;
    await Deno.writeTextFile(main, script);
    const { stdout, stderr, success } = await new Deno.Command("sh", {
      args: [
        ...["-c", 'ulimit -n 100; exec "$0" run -A --cached-only --no-check "$@"', Deno.execPath()],
        ...[main, new URL("control_socket.ts", import.meta.url).href, path],
      ],
      // What is not closed keeps it from ending.
      signal: AbortSignal.timeout(10_000),
    }).output();
    assert(success, new TextDecoder().decode(stderr));
    assertStringIncludes(new TextDecoder().decode(stdout), '"kind":"reloaded"');
  }));

Deno.test("control socket: a folder that others can write to is not used", () =>
  inFolder(async (path) => {
    const shared = { path: `${path}/shared`, isShared: true, isOurs: true };
    const uid = Deno.uid()!;
    assert(!isSafeFolder(shared, uid));
    Deno.mkdirSync(shared.path, { mode: 0o700 });
    assert(isSafeFolder(shared, uid) && !isSafeFolder(shared, uid + 1));
    Deno.chmodSync(shared.path, 0o770);
    assert(!isSafeFolder(shared, uid));
    const answer = () => Promise.resolve({ kind: "reloaded", changes: [] } as const);
    await assertRejects(() => ControlSocket.open(7, answer, [shared]), Error, "not ours alone");
    // The next one is taken, and a folder of ours is gone with the last socket in it.
    const own = { path: `${path}/own`, isShared: true, isOurs: true };
    const socket = await ControlSocket.open(7, answer, [shared, own]);
    assertStringIncludes(socket.path, own.path);
    socket[Symbol.dispose]();
    assertEquals([...Deno.readDirSync(path)].map(({ name }) => name), ["shared"]);
  }));

Deno.test("control socket: named by network namespace and port", () => {
  assertEquals(portOfSocket(socketName(7870)), 7870);
  assertEquals([portOfSocket("1-7870.sock"), portOfSocket("control"), portOfSocket("1-x.sock")], [
    undefined,
    undefined,
    undefined,
  ]);
  const environment: Record<string, string> = {
    RUNTIME_DIRECTORY: "/run/a:/run/b",
    XDG_RUNTIME_DIR: "/run/user/7",
  };
  assertEquals(socketFolders(7, (name) => environment[name]).map(({ path }) => path), [
    "/run/a",
    "/run/pellucid",
    "/run/user/7/pellucid",
    "/tmp/pellucid-7",
  ]);
});
