# Tells what becomes of each of Chef's resources: a line of JSON each. Our client.rb loads it.
#
# Chef's exit code says that something failed, and its report handlers know no resource that was skipped. What is
# subclassed here, Chef::EventDispatch::Base, is Chef's interface for formatters, since 11.

require "json"
require "chef/event_dispatch/base"

class BakeryEvents < Chef::EventDispatch::Base
  LONGEST = 4000

  def initialize(path)
    super()
    @file = File.open(path, "w", 0o600)
    @file.sync = true
    @began = {}
    @updates = {}
  end

  def resource_action_start(resource, *)
    @began[resource.object_id] = clock
    @updates.delete(resource.object_id)
  end

  def resource_update_applied(resource, _action, update)
    (@updates[resource.object_id] ||= []).concat(Array(update).flatten.map(&:to_s)) unless resource.sensitive
  end

  def resource_updated(resource, *)
    message = resource.declared_type.to_s == "log" # a line of the log is no change of a machine
    tell(resource, message ? "ok" : "changed", Array(@updates[resource.object_id]).join("\n"))
  end

  def resource_up_to_date(resource, *)
    tell(resource, "ok")
  end

  def resource_skipped(resource, *)
    tell(resource, "skipped")
  end

  def resource_bypassed(resource, *)
    tell(resource, "skipped")
  end

  def resource_failed(resource, _action, exception)
    tell(resource, resource.ignore_failure ? "ignored" : "failed", exception.message)
  end

  def run_failed(exception, *)
    causes = [exception, exception.cause, *(exception.respond_to?(:wrapped_errors) ? exception.wrapped_errors : [])].compact
    write(
      type: "error",
      text: causes.map { |one| "#{one.class}: #{plain(one.message)}" }.uniq.join("\n"),
      lines: causes.flat_map { |one| [one.message[/\A\/\S+?:\d+/], *one.backtrace] }.compact.filter_map { |line| line[/\A\/.+?:\d+/] }.first(100),
    )
  end

  private

  def tell(resource, outcome, text = "")
    write(
      type: "resource",
      name: resource.to_s,
      outcome: outcome,
      seconds: clock - @began.fetch(resource.object_id, clock),
      line: resource.source_line.to_s[/\A.+?:\d+/].to_s,
      text: plain(text),
    )
  end

  def plain(text)
    text = text.to_s.dup.force_encoding(Encoding::UTF_8).scrub.sub(/ for #<.*/m, "") # all of an object, node and secrets
    text.length > LONGEST ? "...#{text[-LONGEST..]}" : text
  end

  def write(message)
    @file.puts(JSON.generate(message))
  end

  def clock
    Process.clock_gettime(Process::CLOCK_MONOTONIC)
  end
end
