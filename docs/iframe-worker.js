/* Worker for pages that are opened as files, where browsers refuse to start one: the script runs in a hidden frame of
 * the page instead, and messages are passed on as events. The search of the theme needs it; on a server it is unused. */

class FrameWorker extends EventTarget {
  constructor(url) {
    super();
    this.frame = document.createElement("iframe");
    this.frame.hidden = true;
    this.frame.title = "search";
    document.documentElement.append(this.frame);
    const inner = this.frame.contentWindow;
    inner.postMessage = (data) => this.announce(new MessageEvent("message", { data }));
    inner.importScripts = (...urls) => urls.reduce((before, next) => before.then(() => this.load(next)), Promise.resolve());
    inner.addEventListener("error", (event) => this.announce(new ErrorEvent("error", event)));
    this.ready = this.load(url);
  }

  load(url) {
    const script = this.frame.contentDocument.createElement("script");
    script.src = url;
    return new Promise((loaded, failed) => {
      script.onload = loaded;
      script.onerror = failed;
      this.frame.contentDocument.documentElement.append(script);
    });
  }

  announce(event) {
    this.dispatchEvent(event);
    this[`on${event.type}`]?.(event);
  }

  postMessage(data) {
    const inner = this.frame.contentWindow;
    this.ready.then(() => inner.dispatchEvent(new inner.MessageEvent("message", { data })));
  }

  terminate() {
    this.frame.remove();
  }
}

if (location.protocol === "file:") window.Worker = FrameWorker;
