// hello in JavaScript, as a service worker: StarlingMonkey turns the fetch event into wasi:http 0.2.
addEventListener("fetch", (event) => {
  const { pathname } = new URL(event.request.url);
  event.respondWith(new Response(`Hello from JavaScript on Shoal! You asked for ${pathname}\n`));
});
