# The names of Chef's event interface that a subscriber may define; the real one has many more.
class Chef
  module EventDispatch
    class Base
      %i[run_start run_failed run_completed recipe_file_load_failed resource_action_start resource_update_applied
         resource_updated resource_up_to_date resource_skipped resource_bypassed resource_failed resource_completed]
        .each { |name| define_method(name) { |*| } }
    end
  end
end
