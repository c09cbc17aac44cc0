# Runs `itamae local RECIPE...` on the machine, and tells what becomes of each resource: a line of JSON each.
#
# Itamae's exit code is 2 for a failed command as well as for changes, and its `--config`, which would name a handler of
# its own, is not read by 1.14. So the library is called in place of the program.
#
# Arguments: a file of JSON with `events`, `recipes`, `node`, `scratch` and `dry_run`.

require "json"
require "itamae"

module BakeryEvents
  LONGEST = 4000

  class << self
    attr_reader :said

    def open(path)
      @file = File.open(path, "w", 0o600)
      @file.sync = true
      @said = []
    end

    def tell(message)
      @file.puts(JSON.generate(message.transform_values { |value| value.is_a?(String) ? plain(value) : value }))
    end

    def plain(text)
      text = text.dup.force_encoding(Encoding::UTF_8).scrub.sub(/ for #<.*/m, "") # all of an object, node and secrets
      text.length > LONGEST ? "...#{text[-LONGEST..]}" : text
    end
  end

  # Remembers where a resource is written.
  module Written
    def method_missing(method, *args, &block)
      line = caller_locations(1, 1).first
      made = super
      last = @recipe.children.last
      last.instance_variable_set(:@bakery_line, "#{line.path}:#{line.lineno}") if last.is_a?(Itamae::Resource::Base)
      made
    end
  end

  # Tells of a resource when its run ends, however that comes.
  module Run
    def run(*)
      before = [@bakery_changed, BakeryEvents.said.dup]
      began = Process.clock_gettime(Process::CLOCK_MONOTONIC)
      @bakery_changed = @bakery_acted = false
      BakeryEvents.said.clear
      failed = true
      super.tap { failed = false }
    ensure
      outcome = failed ? "failed" : @bakery_changed ? "changed" : @bakery_acted ? "ok" : "skipped"
      BakeryEvents.tell(
        type: "resource",
        name: "#{resource_type}[#{resource_name}]",
        outcome: outcome,
        seconds: Process.clock_gettime(Process::CLOCK_MONOTONIC) - began,
        line: @bakery_line.to_s,
        text: failed ? BakeryEvents.said.join("\n") : "",
      )
      @bakery_changed = before.first
      BakeryEvents.said.replace(before.last)
    end

    private

    def run_action(*)
      @bakery_acted = true
      super
    end

    def updated!
      @bakery_changed = true
      super
    end
  end

  # Keeps what is said of an error.
  module Heard
    def error(message)
      BakeryEvents.said << message.to_s.strip
      super
    end
  end
end

wish = JSON.parse(File.read(ARGV.fetch(0)))
BakeryEvents.open(wish.fetch("events"))
Itamae::Recipe::EvalContext.prepend(BakeryEvents::Written)
Itamae::Resource::Base.prepend(BakeryEvents::Run)
Itamae.logger.singleton_class.prepend(BakeryEvents::Heard)
Itamae.logger.level = Logger::INFO
options = { node_json: [wish.fetch("node")], tmp_dir: wish.fetch("scratch"), dry_run: wish.fetch("dry_run"), shell: "/bin/sh" }
begin
  Itamae::Runner.run(wish.fetch("recipes"), :local, options)
rescue SystemExit
  raise # a command failed: its resource has told why
rescue Exception => error # rubocop:disable Lint/RescueException  a recipe is code: whatever it raises
  places = [error.message[/\A\/\S+?:\d+/], *Array(error.backtrace).map { |line| line[/\A.+?:\d+/] }].compact
  BakeryEvents.tell(type: "error", text: "#{error.class}: #{error.message}", lines: places.first(100))
  exit 1
end
